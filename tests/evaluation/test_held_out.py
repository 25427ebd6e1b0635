"""pass@k of the held-out problems: from the samples by hand and by enumeration, and from verl's own metrics."""

from itertools import combinations
from statistics import fmean

import pytest
from evaluation.one_run import DUMPS, read_of

from frpo_verl.evaluation.held_out import by_k, most_samples, of_samples, pass_at_k
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.series import Series

CORE = "val-core/gsm8k/acc"


def test_pass_at_k_of_the_samples_is_that_of_every_subset():
    problems = {"p": [1.0, 0.0, 0.0, 1.0], "q": [0.0, 0.0, 0.0, 0.0], "r": [0.5, 1.0, 0.0, 0.0]}
    for k in (1, 2, 3, 4):
        each = [fmean(any(score >= 1 for score in some) for some in combinations(of, k)) for of in problems.values()]
        assert of_samples(problems, k, 1.0) == pytest.approx(fmean(each), abs=1e-12)
    # r has two correct samples from 0.5 on: one of two subsets of three pairs misses both
    assert of_samples({"r": problems["r"]}, 2, 0.5) == pytest.approx(5 / 6, abs=1e-12)


def test_the_samples_go_before_what_verl_logged():
    run = read_of([Step(0, {f"{CORE}/mean@8": 0.9})], DUMPS)
    assert pass_at_k(run, 1, 1.0) == Series("validation dumps", {0: 0.25, 2: 0.625})
    assert most_samples(run) == 8
    assert most_samples(read_of(dumps={0: {"p": [1.0] * 4, "q": [1.0] * 8}})) == 4


def test_without_samples_verls_metrics_of_each_source_weigh_the_same():
    steps = [
        Step(0, {f"{CORE}/mean@8": 0.25, f"{CORE}/best@8/mean": 0.5, "val-aux/gsm8k/acc/best@4/mean": 0.375}),
        Step(5, {f"{CORE}/mean@8": 0.5, "val-core/math/acc/mean@8": 0.75, "val-core/math/acc/best@8/mean": 1.0}),
    ]
    run = read_of(steps, {})
    assert most_samples(run) == 8
    # at step 0 one source is missing
    assert pass_at_k(run, 1, 1.0) == Series(f"{CORE}/mean@8, val-core/math/acc/mean@8", {5: 0.625})
    assert pass_at_k(read_of(steps[:1], {}), 4, 1.0) == Series("val-aux/gsm8k/acc/best@4/mean", {0: 0.375})
    assert pass_at_k(run, 16, 1.0) == Series("needs 16 samples of each problem", {})


def test_where_k_is_the_number_of_samples_it_is_the_best_of_them_and_not_their_mean():
    run = read_of([Step(0, {f"{CORE}/mean@8": 0.25, f"{CORE}/best@8/mean": 0.5})], {})
    assert pass_at_k(run, 8, 1.0) == Series(f"{CORE}/best@8/mean", {0: 0.5})


def test_of_the_variables_of_a_source_the_one_in_val_core_counts():
    metrics = {f"{CORE}/mean@4": 0.5, "val-aux/gsm8k/reward/mean@4": 0.1, "val-aux/gsm8k/reward/best@8/mean": 0.9}
    run = read_of([Step(1, metrics)], {})
    assert pass_at_k(run, 1, 1.0) == Series(f"{CORE}/mean@4", {1: 0.5})
    assert most_samples(run) == 4


def test_pass_at_1_is_of_the_most_samples_that_verl_logged():
    run = read_of([Step(0, {f"{CORE}/mean@4": 0.5}), Step(5, {f"{CORE}/mean@8": 0.25})], {})
    assert pass_at_k(run, 1, 1.0) == Series(f"{CORE}/mean@8", {5: 0.25})


def test_a_run_without_validation_has_none():
    run = read_of([Step(1, {"val-aux/num_turns/mean": 2.0})], {})
    assert most_samples(run) == 0
    assert pass_at_k(run, 1, 1.0).points == {} and by_k({}, 8, 1.0) == {}


def test_pass_at_k_over_k_is_of_the_last_validation_at_powers_of_two_and_the_most():
    dumps = {0: {"p": [1.0] * 6}, 5: {"p": [1.0] + [0.0] * 5}}
    # one correct of six: a subset of k has it with chance k/6
    assert by_k(dumps, 6, 1.0) == pytest.approx({1: 1 / 6, 2: 2 / 6, 4: 4 / 6, 6: 1.0}, abs=1e-12)
    assert list(by_k(dumps, 4, 1.0)) == [1, 2, 4]
