"""Figures of what a run learned, by hand, and those that are missing."""

import math

import pytest
from evaluation.one_run import DUMPS, STEPS, run_of

from frpo_verl.evaluation.learned import Point
from frpo_verl.evaluation.metrics import Step


def test_the_first_and_last_points_are_before_and_after():
    run = run_of()
    assert (run.reward.before, run.reward.after) == (Point(1, 0.125), Point(2, 0.5))
    assert run.pass_at_1.before == pytest.approx((0, 0.25, 0.25), abs=1e-14)
    assert run.pass_at_8.after == Point(2, 1.0, 0.0)


def test_a_single_measurement_has_no_after():
    run = run_of(steps=STEPS[:2], dumps={0: DUMPS[0]})
    assert [quantity.after for quantity in run.quantities] == [None] * 5


def test_a_single_measurement_at_the_end_is_no_before():
    run = run_of(dumps={2: DUMPS[2]})
    assert (run.pass_at_1.before, run.pass_at_1.after.step) == (None, 2)


def test_without_dumps_it_is_what_verl_logged():
    core = "val-core/gsm8k/acc"
    steps = [Step(step, {f"{core}/mean@8": 0.25 * step, f"{core}/best@8/mean": 0.5 * step}) for step in (0, 1)]
    run = run_of(steps=steps, dumps={})
    assert (run.pass_at_1.after, run.pass_at_8.after) == (Point(1, 0.25), Point(1, 0.5))
    assert run.pass_at_8.source == f"{core}/best@8/mean"


def test_every_problem_weighs_the_same_whatever_its_number_of_samples():
    # (1/10 + 1/1) / 2, not 2/11 over the pooled samples; the standard error is |1/10 - 1| / 2.
    run = run_of(dumps={0: {"p": [1.0] + [0.0] * 9, "q": [1.0]}})
    assert run.pass_at_1.before == pytest.approx((0, 0.55, 0.45), abs=1e-14)


def test_the_standard_error_is_of_the_mean_over_problems():
    # Pass@1 of 0, 0, 1 and 1: a sample deviation of sqrt(1/3) over sqrt(4).
    run = run_of(dumps={0: {"p": [0.0], "q": [0.0], "r": [1.0], "s": [1.0]}})
    assert run.pass_at_1.before == pytest.approx((0, 0.5, math.sqrt(1 / 12)), abs=1e-14)


def test_the_divergence_to_the_reference_goes_before_the_estimates_of_penalties():
    metrics = {"actor/kl_loss": 0.5, "frpo/divergence_to_ref/token_mean": 0.1, "actor/future_kl_penalty": 0.2}
    assert run_of(steps=[Step(1, metrics)]).divergence.points == (Point(1, 0.1),)


@pytest.mark.parametrize("metric", ["actor/kl_loss", "actor/future_kl_penalty"])
def test_a_run_without_the_plugin_falls_back_to_its_penalty_and_says_so(metric):
    run = run_of(steps=[Step(1, {metric: 0.0}), Step(2, {metric: 0.02})])
    assert run.divergence.source == metric
    assert run.divergence.points == (Point(1, 0.0), Point(2, 0.02))


def test_a_value_that_is_not_finite_is_not_dropped():
    run = run_of(steps=[Step(1, {"critic/score/mean": 0.5}), Step(2, {"critic/score/mean": math.nan})])
    assert math.isnan(run.reward.after.value)


def test_pass_at_8_needs_eight_samples_of_each_problem():
    run = run_of(dumps={0: {"p": [1.0] * 8, "q": [0.0] * 7}})
    assert run.pass_at_8.points == ()
    assert run.pass_at_8.source == "needs 8 samples of each problem"
    assert run.pass_at_1.source == "2 problems x 7 to 8 samples"
    # (1 + 0)/2, with the standard error |1 - 0|/2.
    assert run.pass_at_1.before == Point(0, 0.5, 0.5)


def test_a_first_validation_with_too_few_samples_leaves_before_empty_and_keeps_after():
    run = run_of(steps=[*STEPS, Step(3, {})], dumps={0: {"p": [1.0] * 7}, 2: {"p": [1.0] * 8}})
    assert (run.pass_at_8.before, run.pass_at_8.after) == (None, Point(2, 1.0))
    assert run.pass_at_1.before == Point(0, 1.0)


def test_held_out_sets_of_different_sizes_are_both_named():
    run = run_of(dumps={0: {"p": [1.0], "q": [0.0]}, 1: {"p": [1.0]}})
    assert run.pass_at_1.source == "2 problems x 1 samples -> 1 problems x 1 samples"
    assert run.pass_at_1.after == Point(1, 1.0, None)


def test_a_sample_is_correct_from_the_given_score_on():
    dumps = {0: {"p": [1.0, 0.5, 0.1, math.nan]}}
    assert run_of(dumps=dumps, correct_at=0.5).pass_at_1.before.value == 0.5
    assert run_of(dumps=dumps).pass_at_1.before.value == 0.25
