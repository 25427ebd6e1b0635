"""Intervals: against tables of Student's t, every resample of few problems, and their coverage."""

import itertools
import math
import random
import statistics

import numpy as np
import pytest

from frpo_verl.evaluation import intervals
from frpo_verl.evaluation.intervals import over_problems, over_seeds, student_t


def alike(values):
    return np.ones_like(values)


def of(values):
    values = np.asarray(values, float)
    return over_problems(values, alike(values))


# Abramowitz and Stegun, table 26.10, to three decimals
@pytest.mark.parametrize(
    "degrees, t",
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_t_is_the_tables(degrees, t):
    assert student_t(0.975, degrees) == pytest.approx(t, abs=5e-4)


def test_t_of_one_and_two_degrees_is_the_closed_form():
    for p in (0.6, 0.9, 0.995):
        assert student_t(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-12)
        alpha = 4 * p * (1 - p)
        assert student_t(p, 2) == pytest.approx(2 * (p - 0.5) * math.sqrt(2 / alpha), rel=1e-12)


def test_seeds_by_hand():
    # s = 0.1, √3 seeds, t of two degrees
    low, high = over_seeds([0.4, 0.5, 0.6])
    assert (low + high) / 2 == pytest.approx(0.5)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert over_seeds([0.5]) is None


def test_seeds_cover_the_mean_in_95_of_100():
    draw = random.Random(1)
    covered = [
        low <= 0 <= high for low, high in (over_seeds([draw.gauss(0, 3) for _ in range(4)]) for _ in range(4000))
    ]
    # four standard errors
    assert statistics.fmean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_problems_are_resampled_as_every_resample_says():
    values = [0.0, 0.1, 0.4, 1.0]
    means = [statistics.fmean(each) for each in itertools.product(values, repeat=4)]
    (found,) = of([[values]])
    for end, quantile in zip(found, (0.025, 0.975), strict=True):
        # of 10,000 resamples, as many as the quantile says, give or take four standard errors
        chance = 4 * math.sqrt(0.025 * 0.975 / intervals.RESAMPLES)
        below, up_to = (sum(compare(mean, end) for mean in means) / len(means) for compare in (_below, _up_to))
        assert below - chance <= quantile <= up_to + chance


def _below(one, other):
    return one < other - 1e-9


def _up_to(one, other):
    return one <= other + 1e-9


def test_the_seeds_of_a_resample_have_the_same_problems():
    # where one seed is right the other is wrong: the mean over seeds is 1/2 in every resample
    (found,) = of([[[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]])
    assert found == pytest.approx((0.5, 0.5))


def test_weights_are_of_each_resample_too():
    # Σ w v / Σ w of nine tokens of 1 and one of 0, resampled: 0, 0.9, 1
    (found,) = over_problems(np.array([[[1.0, 0.0]]]), np.array([[[9.0, 1.0]]]))
    assert found == pytest.approx((0.0, 1.0))
    (plain,) = over_problems(np.array([[[0.3, 0.3]]]), np.array([[[9.0, 1.0]]]))
    assert plain == pytest.approx((0.3, 0.3))


def test_the_same_numbers_come_at_every_call_and_in_blocks_of_any_size(monkeypatch):
    values = np.random.default_rng(0).random((2, 3, 7))
    first = of(values)
    assert of(values) == first
    monkeypatch.setattr(intervals, "_AT_ONCE", 7 * 33)
    assert np.allclose(of(values), first, atol=1e-12)


def test_a_single_problem_says_nothing_of_others():
    assert of([[[0.5]], [[1.0]]]) == [None, None]
