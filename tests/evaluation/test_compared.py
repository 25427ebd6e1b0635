"""Methods side by side: quantities of metrics and samples, at the steps that all seeds have, and what is missing."""

import math

from evaluation.one_run import DUMPS, STEPS, read_of

from frpo_verl.evaluation.compared import compare, of_seeds
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.series import LOGGED, PROFILE

REWARD, DRIFT, ENTROPY, LENGTH, BETA, SHARE = (panel.title for panel in LOGGED)
PASS_1, PASS_8, BY_K, ALONG = (
    "pass@1, held out",
    "pass@8, held out",
    "pass@k by k, held out",
    "future term along the response",
)


def quantities(compared):
    return {quantity.panel.title: quantity.methods for quantity in compared.quantities}


def of(steps, dumps=None, name="runs/a", **about):
    return read_of(steps, dumps or {}, name=name, **about)


def test_seeds_are_compared_at_the_steps_that_all_have():
    assert of_seeds([{1: 0.25, 2: 0.5}, {3: 1.0, 2: 1.0, 1: 0.75}]) == {1: [0.25, 0.75], 2: [0.5, 1.0]}


def test_a_seed_without_a_quantity_does_not_take_it_from_the_others():
    assert of_seeds([{1: 0.25}, {}]) == {1: [0.25]}
    assert of_seeds([{}, {}]) == {}


def test_a_step_at_which_a_seed_is_not_finite_is_a_gap_in_any_order():
    for seeds in ([1.0, math.inf], [math.nan, 1.0]):
        assert all(map(math.isnan, of_seeds([{1: value} for value in seeds])[1]))


def test_the_held_out_problems_come_first_then_what_was_logged():
    first, second = of(STEPS, DUMPS), of(STEPS, {step: {"p": [1.0] * 8, "q": [0.0] * 8} for step in DUMPS})
    compared = compare({"frpo": [first, second], "none": [of(STEPS)]})
    found = quantities(compared)
    assert list(found) == [PASS_1, PASS_8, REWARD, DRIFT, ENTROPY, BY_K]
    # of `one_run`: 0.25 and 0.625; one of two problems is a half
    assert found[PASS_1] == {"frpo": {0: [0.25, 0.5], 2: [0.625, 0.5]}, "none": {}}
    assert found[PASS_8]["frpo"] == {0: [0.5, 0.5], 2: [1.0, 0.5]}
    assert found[ENTROPY] == {"frpo": {1: [1.5, 1.5], 2: [1.25, 1.25]}, "none": {1: [1.5], 2: [1.25]}}
    assert found[BY_K]["frpo"].keys() == {1, 2, 4, 8}
    assert compared.missing == (LENGTH, BETA, SHARE, ALONG)
    assert compared.notes == ()


def test_pass_at_k_has_the_k_that_all_runs_have_and_another_bar_counts_others_as_correct():
    few, many = {2: {"p": [0.5, 0.0]}}, {2: {"p": [0.5] * 8}}
    found = quantities(compare({"few": [of(STEPS, few)], "many": [of(STEPS, many)]}, correct_at=0.5))
    assert found[PASS_1] == {"few": {2: [0.5]}, "many": {2: [1.0]}}
    assert found["pass@2, held out"] == {"few": {2: [1.0]}, "many": {2: [1.0]}}
    one_sample = quantities(compare({"one": [of(STEPS, {2: {"p": [1.0]}})]}))
    assert [title for title in one_sample if "pass" in title] == [PASS_1]


def test_who_lacks_a_quantity_is_named_the_method_or_the_seed():
    with_entropy, without = of([Step(1, {"actor/entropy": 0.5})]), of([Step(1, {"loss": 0.5})], name="runs/b")
    (entropy,) = compare({"x": [with_entropy, without], "y": [without]}).quantities
    assert entropy.methods == {"x": {1: [0.5]}, "y": {}}
    assert entropy.lacking == ("runs/b (x)", "y")
    assert entropy.sources == ("actor/entropy",)


def test_each_seed_may_log_another_name_of_a_quantity():
    one = of([Step(1, {"actor/kl_loss": 0.1, "frpo/divergence_to_ref/token_mean": 0.2})])
    (drift,) = compare({"x": [one, of([Step(1, {"actor/kl_loss": 0.4})])]}).quantities
    # the estimate that both have, though the first has a better one
    assert drift.methods == {"x": {1: [0.1, 0.4]}} and drift.sources == ("actor/kl_loss",)
    other = of([Step(1, {"actor/reward_kl_penalty": 0.4, "frpo/beta": 0.1, "actor/kl_coef": 0.2})])
    compared = compare({"x": [one, other, of([Step(1, {"actor/kl_coef": 0.1})])]})
    assert compared.quantities[0].sources == ("frpo/divergence_to_ref/token_mean", "actor/reward_kl_penalty")
    # β is β, wherever it stands
    assert compared.notes == (
        "drift from the reference: the runs have different estimates of it: frpo/divergence_to_ref/token_mean "
        "and actor/reward_kl_penalty",
    )


def test_runs_that_validated_on_other_problems_are_named():
    one, same = (
        read_of(dumps={0: {"p": [1.0] * 4, "q": [1.0] * 4}}),
        read_of(dumps={5: {"p": [0.0] * 3, "q": [1.0] * 4}}),
    )
    other, none = read_of(dumps={0: {"p": [1.0] * 4, "r": [1.0] * 4}}, name="runs/b"), read_of(dumps={})
    assert compare({"x": [one, one, none]}).notes == ()
    assert compare({"x": [one, same], "y": [other]}).notes == (
        "runs/b (2) validated on other problems than runs/a (2): their pass@k cannot be compared",
        "runs/a: its problems have 3 to 4 samples, so k is at most 3",
    )


def test_the_future_term_along_the_response_is_the_mean_of_the_last_five_steps():
    # tenth n of step s is n*s; steps 3 to 7 have the mean 5
    steps = [Step(s, {name: float(n * s) for n, name in enumerate(PROFILE, start=1)}) for s in range(1, 8)]
    (along,) = compare({"x": [of(steps)]}).quantities
    assert along.methods == {"x": {n: [5.0 * n] for n in range(1, 11)}}
    assert along.panel.axis == "tenth of the response"


def test_what_was_left_out_of_a_run_and_what_is_not_finite_is_said():
    steps = [Step(n, {"actor/entropy": math.nan, "x": math.inf}) for n in range(5)]
    where = {"actor/entropy": [f"log, line {n}" for n in range(1, 6)], "x": ["log, line 1"]}
    compared = compare({"a": [of(steps, notes=["log, line 9: not JSON; left out"], not_finite=where)]})
    assert compared.notes == (
        "log, line 9: not JSON; left out",
        "log, line 1; log, line 2; log, line 3 and 2 more: actor/entropy is not a finite number, which leaves a gap",
        "runs/a/metrics.jsonl: not always finite numbers, and in no picture: x",
    )
    assert math.isnan(quantities(compared)[ENTROPY]["a"][0][0])


def test_seeds_that_end_at_different_steps_are_said():
    compared = compare({"a": [of(STEPS), of(STEPS[:2], name="runs/b")], "b": [of(STEPS)]})
    assert compared.notes == (
        "a: its runs end at different steps (runs/a at 2, runs/b at 1); mean and band stop where one of them does",
    )
    assert quantities(compared)[REWARD]["a"] == {1: [0.125, 0.125]}
