"""maj@k: the average over every choice of k samples in every order, counted one by one."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.evaluation.maj_at_k import maj_at_k

SAMPLES = st.lists(st.tuples(st.floats(-1, 1), st.sampled_from("abcd")), min_size=1, max_size=6)


def score_of_majority(drawn):
    """The rule of verl's `calc_maj_val`: of the answers with most votes the first one, and its first score."""
    votes: dict = {}
    for score, answer in drawn:
        votes.setdefault(answer, []).append(score)
    return next(scores for scores in votes.values() if len(scores) == max(map(len, votes.values())))[0]


def test_by_hand():
    # two vote a (right), one b, one c: of three, a leads unless one a, b and c are drawn, which tie
    scores, answers = [1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "c"]
    assert maj_at_k(scores, answers, 3) == pytest.approx((2 * 1 + 2 * (1 / 3)) / 4)
    assert maj_at_k(scores, answers, 4) == pytest.approx(1.0)
    assert maj_at_k(scores, answers, 1) == pytest.approx(0.5)


@given(SAMPLES, st.data())
def test_equals_every_draw_in_every_order(samples, data):
    k = data.draw(st.integers(1, len(samples)))
    every = [score_of_majority(drawn) for drawn in itertools.permutations(samples, k)]
    scores, answers = zip(*samples, strict=True)
    assert maj_at_k(scores, answers, k) == pytest.approx(statistics.fmean(every), abs=1e-10)


def test_equals_every_draw_of_many_more_samples_than_vote():
    k, pair, other = 4, [(1.0, "a")] * 2, [(0.5, "b")] * 2
    samples = [*pair, *((0.25, number) for number in range(9)), *other]
    every = [score_of_majority(drawn) for drawn in itertools.permutations(samples, k)]
    scores, answers = zip(*samples, strict=True)
    assert maj_at_k(scores, answers, k) == pytest.approx(statistics.fmean(every), abs=1e-10)


def test_the_rule_is_verls():
    verl = pytest.importorskip("verl.trainer.ppo.metric_utils")
    draw = random.Random(0)
    for _ in range(200):
        drawn = [(draw.random(), draw.choice("abc")) for _ in range(draw.randint(1, 7))]
        data = [{"val": score, "pred": answer} for score, answer in drawn]
        assert score_of_majority(drawn) == verl.calc_maj_val(data, "pred", "val")


@given(SAMPLES)
def test_one_vote_is_the_mean_score(samples):
    scores, answers = zip(*samples, strict=True)
    assert maj_at_k(scores, answers, 1) == pytest.approx(statistics.fmean(scores), abs=1e-10)


@pytest.mark.parametrize("n", [64, 1200])
def test_many_samples_neither_overflow_nor_cancel(n):
    # two answers: with an odd k the right one wins if more than half of the draw is right (hypergeometric)
    k, right = 21, n // 3
    wins = sum(math.comb(right, j) * math.comb(n - right, k - j) for j in range(11, k + 1)) / math.comb(n, k)
    scores = [1.0] * right + [0.0] * (n - right)
    assert maj_at_k(scores, scores, k) == pytest.approx(wins, rel=1e-9)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match="k = 3 and n = 2: draw more samples or lower k"):
        maj_at_k([0.0, 1.0], ["a", "b"], 3)
    with pytest.raises(ValueError, match="k = 0 and n = 2"):
        maj_at_k([0.0, 1.0], ["a", "b"], 0)
    with pytest.raises(ValueError, match="2 scores but 1 answers"):
        maj_at_k([0.0, 1.0], ["a"], 1)
