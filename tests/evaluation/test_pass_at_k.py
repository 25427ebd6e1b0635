"""pass@k against hand-counted cases, every subset of small problems, exact fractions and its properties."""

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.evaluation.pass_at_k import pass_at_k, pass_at_k_per_problem


@st.composite
def problems(draw, max_samples=300):
    n = draw(st.integers(1, max_samples))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        # Of the 6 pairs of 4 samples, 3 hold the one correct sample.
        (4, 1, 2, 0.5),
        # Of the 10 triples of 5 samples, 1 holds none of the two correct: the three wrong ones.
        (5, 2, 3, 0.9),
        # Three samples cannot avoid the correct ones when only two are wrong.
        (5, 3, 3, 1.0),
        (8, 0, 8, 0.0),
        (1, 1, 1, 1.0),
    ],
)
def test_hand_counted_cases(n, c, k, expected):
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("n", range(1, 9))
def test_it_is_the_share_of_subsets_with_a_correct_sample(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            solved = [any(sample < c for sample in subset) for subset in combinations(range(n), k)]
            assert pass_at_k(n, c, k) == pytest.approx(sum(solved) / len(solved), abs=1e-14)


def test_it_is_unbiased():
    # The mean of the estimate over all outcomes of n coins of probability p is 1 - (1 - p)^k, the true pass@k.
    n, k, p = 6, 3, 0.3
    mean = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - 0.7**3, abs=1e-14)


@pytest.mark.parametrize(("n", "c", "k"), [(1030, 515, 515), (10_000, 1, 100), (10_000, 37, 5000), (100_000, 3, 8)])
def test_it_holds_where_the_binomials_leave_float64(n, c, k):
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    # Two roundings: of the quotient and of the difference.
    assert pass_at_k(n, c, k) == pytest.approx(float(exact), abs=2.3e-16)


@given(problems())
def test_it_never_falls_when_more_tries_are_allowed(problem):
    n, c, k = problem
    if k < n:
        assert pass_at_k(n, c, k) <= pass_at_k(n, c, k + 1) + 1e-13


@given(problems())
def test_it_never_falls_when_more_samples_are_correct(problem):
    n, c, k = problem
    if c < n:
        assert pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k) + 1e-13


@given(problems())
def test_one_try_is_the_share_of_correct_samples(problem):
    n, c, _ = problem
    assert pass_at_k(n, c, 1) == pytest.approx(c / n, abs=1e-13)


@given(problems())
def test_all_tries_ask_whether_any_sample_is_correct(problem):
    n, c, _ = problem
    assert pass_at_k(n, c, n) == (1.0 if c > 0 else 0.0)


@given(problems())
def test_it_is_a_probability(problem):
    assert 0.0 <= pass_at_k(*problem) <= 1.0


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (4, 1, 5, "k = 5 and n = 4"),
        (4, 1, 0, "k = 0 and n = 4"),
        (0, 0, 1, "k = 1 and n = 0"),
        (4, 5, 1, "c = 5 and n = 4"),
        (4, -1, 1, "c = -1 and n = 4"),
    ],
)
def test_impossible_counts_are_refused_with_their_values(n, c, k, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, c, k)


def test_problems_may_have_different_numbers_of_samples():
    # pass@2 of 1 in 4 is 1/2 (above); of 2 in 3 it is 1, since two samples cannot both be the one wrong sample.
    assert pass_at_k_per_problem([4, 3], [1, 2], 2) == pytest.approx([0.5, 1.0], abs=1e-15)


def test_counts_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 sample counts but 1 correct counts"):
        pass_at_k_per_problem([4, 4], [1], 1)
