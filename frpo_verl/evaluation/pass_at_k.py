"""The unbiased estimator of pass@k: the chance that at least one of k samples of a problem is correct."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Count = int | np.integer
Counts = Sequence[int] | NDArray[np.integer]


def pass_at_k(num_samples: Count, num_correct: Count, k: int) -> float:
    """Estimates pass@k of one problem from n samples of which c are correct.

        pass@k = 1 − C(n−c, k) / C(n, k) = 1 − Π_{i=n−c+1}^{n} (1 − k/i)

    The product has c factors in [0, 1]; the binomials themselves leave float64 from n = 1030 on.

    See "Evaluating Large Language Models Trained on Code" (https://arxiv.org/abs/2107.03374), equation 1 and figure 3.

    Args:
        num_samples: n, samples drawn of the problem.
        num_correct: c, how many of them are correct.
        k: how many samples a user may try.

    Returns:
        A probability.

    Raises:
        ValueError: unless 1 <= k <= n and 0 <= c <= n.
    """
    n, c = num_samples, num_correct
    if not 1 <= k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n, but k = {k} and n = {n}: draw more samples or lower k.")
    if not 0 <= c <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n, but c = {c} of n = {n} samples are said to be correct.")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def pass_at_k_per_problem(num_samples: Counts, num_correct: Counts, k: int) -> NDArray[np.float64]:
    """Estimates pass@k of every problem; the problems may have different numbers of samples.

    Args:
        num_samples: n of each problem.
        num_correct: c of each problem, in the same order.
        k: how many samples a user may try.

    Returns:
        One probability per problem.

    Raises:
        ValueError: the lengths differ, or a problem breaks the conditions of `pass_at_k`.
    """
    if len(num_samples) != len(num_correct):
        raise ValueError(
            f"{len(num_samples)} sample counts but {len(num_correct)} correct counts: give one per problem."
        )
    return np.array([pass_at_k(n, c, k) for n, c in zip(num_samples, num_correct, strict=True)], dtype=np.float64)


def mean_pass_at_k(num_samples: Counts, num_correct: Counts, k: int) -> float:
    """Mean of pass@k over the problems, each with the same weight whatever its number of samples.

    Args:
        num_samples: n of each problem.
        num_correct: c of each problem, in the same order.
        k: how many samples a user may try.

    Returns:
        A probability.

    Raises:
        ValueError: there is no problem, or as in `pass_at_k_per_problem`.
    """
    if len(num_samples) == 0:
        raise ValueError("the mean of pass@k needs at least one problem, but none was given.")
    return float(pass_at_k_per_problem(num_samples, num_correct, k).mean())
