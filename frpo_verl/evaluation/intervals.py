"""Gives intervals of 95 %: over problems by the bootstrap, over seeds by Student's t."""

import functools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES, SEED = 10_000, 20260110
LEVEL = 0.95
_AT_ONCE = 10_000_000
"""Numbers in memory at a time."""


class Interval(NamedTuple):
    """The ends of an interval of 95 %."""

    low: float
    high: float


def over_problems(values: np.ndarray, weights: np.ndarray) -> list[Interval | None]:
    """Resamples the problems with replacement, 10,000 times, and takes the middle 95 % of the means.

        θ_b = mean over seeds s of  Σ_p c_{b,p} w_{s,p} v_{s,p} / Σ_p c_{b,p} w_{s,p},   c_{b,p}: copies of p

    The random numbers are the same at every call, every quantity and seed sees the same resamples, and the seeds are
    not resampled. See Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3: the percentile
    interval.

    Args:
        values: (quantities, seeds, problems).
        weights: of the same shape, how much each problem weighs in the mean of its seed.

    Returns:
        An interval for each quantity; None where one problem says nothing of others.
    """
    quantities, seeds, number = values.shape
    if number < 2:
        return [None] * quantities
    random, block = np.random.default_rng(SEED), max(1, _AT_ONCE // number)
    sums, counted = (part.reshape(-1, number).T for part in (values * weights, weights))
    means = []
    for start in range(0, RESAMPLES, block):
        copies = random.multinomial(number, np.full(number, 1 / number), min(block, RESAMPLES - start))
        each = (copies @ sums) / (copies @ counted)
        means.append(each.reshape(-1, quantities, seeds).mean(axis=2))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return [Interval(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]


def over_seeds(values: Sequence[float]) -> Interval | None:
    """Returns mean ± t · s / √n of one value for each seed, t of n − 1 degrees of freedom; None for a single seed."""
    if len(values) < 2:
        return None
    mean, half = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    half *= student_t((1 + LEVEL) / 2, len(values) - 1)
    return Interval(mean - half, mean + half)


@functools.cache
def student_t(probability: float, degrees: int) -> float:
    """Returns the quantile of Student's t, by bisection of its distribution function, which ends at rounding.

    See Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4, with θ = arctan(t / √ν):

        P(|T| < t) = 2/π · (θ + sin θ · (cos θ + 2/3 cos³θ + …))                for odd ν
        P(|T| < t) = sin θ · (1 + 1/2 cos²θ + 1·3/(2·4) cos⁴θ + …)             for even ν

    Args:
        probability: above 1/2.
        degrees: ν, a whole number.

    Returns:
        t.
    """

    def inside(angle: float) -> float:
        odd = degrees % 2
        term, total = (math.cos(angle) if odd else 1.0), 0.0
        for power in range(1 + odd, degrees, 2):
            total += term
            term *= math.cos(angle) ** 2 * power / (power + 1)
        series = math.sin(angle) * total
        return 2 / math.pi * (angle + series) if odd else series

    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if inside(middle) < 2 * probability - 1 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
