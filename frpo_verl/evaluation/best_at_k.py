"""Estimates pass@k by the bootstrap, as the paper and verl's `best@k` do."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES, SEED = 1000, 42
"""Of the paper (arXiv 2601.10201, appendix: settings) and of verl's `bootstrap_metric`."""


class Best(NamedTuple):
    """Mean and standard deviation of the best of k over the resamples: verl's `best@k/mean` and `best@k/std`."""

    mean: float
    deviation: float


def best_at_k(scores: Sequence[float], k: int) -> Best:
    """Draws k of a problem's n samples with replacement, 1,000 times, and keeps the best score of each draw.

        best_b = max_{j ≤ k} r_{i(b,j)}, i(b,j) uniform on 1…n;  mean and deviation over b = 1…1000

    The draws are verl's, number by number. Of binary scores the mean estimates 1 − (1 − c/n)^k, which is below
    pass@k, because a draw may hold one sample twice.

    See verl's `bootstrap_metric` (verl/trainer/ppo/metric_utils.py) and arXiv 2601.10201, which reports pass@16 so.

    Args:
        scores: one of each sample of the problem.
        k: how many samples a draw has.

    Returns:
        Mean and deviation.

    Raises:
        ValueError: unless 1 <= k <= n.
    """
    if not 1 <= k <= len(scores):
        raise ValueError(f"best@k needs 1 <= k <= n, but k = {k} and n = {len(scores)}: draw more samples or lower k.")
    best = np.asarray(scores, np.float64)[_draws(len(scores), k)].max(axis=1)
    return Best(float(best.mean()), float(best.std()))


@functools.lru_cache(maxsize=64)
def _draws(n: int, k: int) -> np.ndarray:
    return np.random.RandomState(SEED).choice(n, size=(RESAMPLES, k), replace=True)
