"""Methods side by side: quantities of metrics and dumps, at the steps that all seeds of a method have."""

import json

from evaluation.one_run import DUMPS, STEPS, write_metrics

from frpo_verl.evaluation.compared import HELD_OUT, LOGGED, compare, of_seeds
from frpo_verl.evaluation.run_log import Step

REWARD, ENTROPY, DIVERGENCE = LOGGED


def write_run(folder, steps, dumps, key="score"):
    write_metrics(folder, steps)
    for step, scores in dumps.items():
        (folder / "validation").mkdir(exist_ok=True)
        lines = [json.dumps({"input": name, key: score}) for name, of in scores.items() for score in of]
        (folder / "validation" / f"{step}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def quantities(compared):
    return {quantity.title: quantity.methods for quantity in compared.quantities}


def test_seeds_are_compared_at_the_steps_that_all_have():
    assert of_seeds([{1: 0.25, 2: 0.5}, {3: 1.0, 2: 1.0, 1: 0.75}]) == {1: [0.25, 0.75], 2: [0.5, 1.0]}
    assert of_seeds([{1: 0.25}, {}]) == {}


def test_the_held_out_problems_come_first_then_what_was_logged(tmp_path):
    first = write_run(tmp_path / "a", STEPS, DUMPS)
    second = write_run(tmp_path / "b", STEPS, {step: {"p": [1.0], "q": [0.0]} for step in DUMPS})
    compared = compare({"frpo": [first, second], "none": [write_run(tmp_path / "c", STEPS, {})]})
    assert compared.seeds == {"frpo": 2, "none": 1}
    assert list(quantities(compared)) == [HELD_OUT, REWARD, ENTROPY, DIVERGENCE]
    # of `one_run`: 0.25 and 0.625; one of two problems is a half
    assert quantities(compared)[HELD_OUT] == {"frpo": {0: [0.25, 0.5], 2: [0.625, 0.5]}, "none": {}}
    assert quantities(compared)[ENTROPY] == {"frpo": {1: [1.5, 1.5], 2: [1.25, 1.25]}, "none": {1: [1.5], 2: [1.25]}}


def test_what_no_method_measured_is_left_out_unless_there_is_nothing(tmp_path):
    entropy = write_run(tmp_path / "a", [Step(1, {"actor/entropy": 0.5})], {})
    nothing = write_run(tmp_path / "b", [Step(1, {"loss": 0.5})], {})
    assert quantities(compare({"x": [entropy], "y": [nothing]})) == {ENTROPY: {"x": {1: [0.5]}, "y": {}}}
    assert quantities(compare({"y": [nothing]})) == {name: {"y": {}} for name in (HELD_OUT, *LOGGED)}


def test_each_seed_may_log_another_name_of_a_quantity(tmp_path):
    one = write_run(tmp_path / "a", [Step(1, {"actor/kl_loss": 0.1, "frpo/divergence_to_ref/token_mean": 0.2})], {})
    other = write_run(tmp_path / "b", [Step(1, {"actor/kl_loss": 0.4})], {})
    assert quantities(compare({"x": [one, other]})) == {DIVERGENCE: {"x": {1: [0.2, 0.4]}}}


def test_another_bar_and_another_field_of_the_dumps(tmp_path):
    run = write_run(tmp_path / "a", STEPS, {2: {"p": [0.5, 0.25]}}, key="acc")
    assert quantities(compare({"x": [run]}, 0.5, "acc"))[HELD_OUT] == {"x": {2: [0.5]}}
