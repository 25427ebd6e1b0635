"""The bootstrap pass@k: verl's numbers, and what every draw of k with replacement gives."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.evaluation.best_at_k import RESAMPLES, Best, best_at_k


def test_of_one_sample_there_is_nothing_to_draw():
    assert best_at_k([0.25], 1) == Best(0.25, 0.0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_is_within_chance_of_every_draw_with_replacement(k):
    scores = [1.0, 0.0, 0.5, 0.0]
    every = [max(drawn) for drawn in itertools.product(scores, repeat=k)]
    mean, deviation = statistics.fmean(every), statistics.pstdev(every)
    found = best_at_k(scores, k)
    # five standard errors of 1,000 resamples; that of a deviation is below the mean's
    chance = 5 * deviation / RESAMPLES**0.5
    assert found.mean == pytest.approx(mean, abs=chance)
    assert found.deviation == pytest.approx(deviation, abs=chance)


def test_is_below_pass_at_k_since_a_draw_may_hold_a_sample_twice():
    assert best_at_k([1.0, 0.0], 2).mean == pytest.approx(0.75, abs=0.07) != 1.0


def test_equals_what_verl_logs():
    verl = pytest.importorskip("verl.trainer.ppo.metric_utils")
    problems = {"a": [1.0, 0.0, 0.0, 0.0], "b": [0.0, 0.0, 0.0, 0.0], "c": [0.25, 0.5, 0.0, 1.0]}
    uids = [uid for uid in problems for _ in range(4)]
    scores = [score for each in problems.values() for score in each]
    logged = verl.process_validation_metrics(["s"] * len(uids), uids, {"reward": scores})["s"]["reward"]
    for k in (2, 4):
        found = [best_at_k(each, k) for each in problems.values()]
        assert statistics.fmean(best.mean for best in found) == pytest.approx(logged[f"best@{k}/mean"], abs=1e-12)
        assert statistics.fmean(best.deviation for best in found) == pytest.approx(logged[f"best@{k}/std"], abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6), st.data())
def test_stays_between_the_scores_and_never_falls_with_k_in_the_mean(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    found = best_at_k(scores, k)
    assert min(scores) - 1e-12 <= found.mean <= max(scores) + 1e-12
    assert 0 <= found.deviation <= max(scores) - min(scores) + 1e-12


@pytest.mark.parametrize("k", [0, 3])
def test_k_outside_of_the_samples_is_refused(k):
    with pytest.raises(ValueError, match=rf"k = {k} and n = 2: draw more samples or lower k"):
        best_at_k([0.0, 1.0], k)
