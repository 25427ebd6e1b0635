"""Joining what a log says: a later value wins, a resumed run counts once, and what is not finite has its place."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.evaluation.metrics import Log, Record, Step, joined, left_out, places


def of(*said: tuple[int, dict[str, float]]) -> Log:
    return joined(Path("log"), [Record(f"log, line {n}", step, data) for n, (step, data) in enumerate(said, start=1)])


def test_records_of_the_same_step_are_merged_and_the_later_value_wins():
    log = of((2, {"a": 1.0, "b": 1.0}), (1, {"a": 5.0}), (2, {"b": 2.0}))
    said = ["log, line 3, has step 2 again: the run was resumed there, and the later values count"]
    assert log == Log(Path("log"), [Step(1, {"a": 5.0}), Step(2, {"a": 1.0, "b": 2.0})], said, {})


def test_a_validation_that_comes_late_is_no_return():
    log = of((1, {"a": 1.0}), (2, {"a": 2.0}), (1, {"val": 0.5}))
    assert (log.steps, log.notes) == ([Step(1, {"a": 1.0, "val": 0.5}), Step(2, {"a": 2.0})], [])


def test_of_a_resumed_run_the_later_steps_count_and_the_page_can_say_so():
    # Steps 2 to 4, then again from 3 on: what was logged of 3 and 4 before belongs to a policy that was dropped.
    log = of((2, {"a": 2.0}), (3, {"a": 3.0, "b": 3.0}), (4, {"a": 4.0}), (3, {"a": -3.0}))
    assert log.steps == [Step(2, {"a": 2.0}), Step(3, {"a": -3.0})]
    assert log.notes == [
        "log, line 4, goes back from step 4 to step 3: the run was resumed there, and the later values count"
    ]


def test_a_step_that_is_logged_twice_after_a_return_is_no_second_one():
    log = of((1, {"a": 1.0}), (2, {"a": 2.0}), (1, {"a": 3.0, "b": 3.0}), (1, {"a": 4.0}))
    assert log.steps == [Step(1, {"a": 4.0, "b": 3.0})]
    assert [note.split(":")[0] for note in log.notes] == [
        "log, line 3, goes back from step 2 to step 1",
        "log, line 4, has step 1 again",
    ]


def test_a_run_that_is_resumed_twice_is_said_twice():
    log = of((1, {"a": 1.0}), (2, {"a": 2.0}), (1, {"a": 3.0}), (2, {"a": 4.0}), (3, {"a": 5.0}), (2, {"a": 6.0}))
    assert log.steps == [Step(1, {"a": 3.0}), Step(2, {"a": 6.0})]
    assert [note.split(":")[0] for note in log.notes] == [
        "log, line 3, goes back from step 2 to step 1",
        "log, line 6, goes back from step 3 to step 2",
    ]


def test_a_log_that_goes_back_again_and_again_has_two_writers():
    # One writer is a step ahead of the other. Every second step of the slower one finds its number taken.
    log = of(*((step, {"a": 0.0}) for n in range(9) for step in (n + 1, n)))
    assert len(log.notes) == 1
    assert log.notes[0].endswith("and 3 more do so: two runs may be writing to it; the later values count")


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("ab"), st.floats(0, 9)), min_size=1))
def test_the_last_value_of_every_step_up_to_the_last_one_stays(said):
    log = of(*((step, {name: value}) for step, name, value in said))
    step, name, value = said[-1]
    assert {s.step: s.metrics for s in log.steps}[step][name] == value
    assert [s.step for s in log.steps] == sorted({s.step for s in log.steps})


def test_what_is_not_finite_stays_and_has_its_place():
    log = of((1, {"a": math.nan, "b": 1.0}), (2, {"a": 1.0, "b": math.inf}), (3, {"a": -math.inf}))
    assert math.isnan(log.steps[0].metrics["a"]) and log.steps[1].metrics["b"] == math.inf
    assert log.not_finite == {"a": ["log, line 1", "log, line 3"], "b": ["log, line 2"]}


def test_a_finite_value_that_comes_later_leaves_nothing_to_say():
    assert of((1, {"a": math.nan}), (1, {"a": 1.0})).not_finite == {}
    assert of((1, {"a": 1.0}), (2, {"a": math.nan}), (1, {"a": 1.0})).not_finite == {}


def test_notes_among_the_records_are_kept():
    assert joined(Path("log"), ["x", Record("", 1, {}), "y"]).notes == ["x", "y"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "line 3"),
        ([3, 5], "lines 3 and 5"),
        ([1, 2, 3], "lines 1, 2 and 3"),
        ([1, 2, 3, 4, 9], "lines 1, 2, 3 and 2 more"),
    ],
)
def test_places_are_named_and_then_counted(numbers, text):
    assert places(numbers) == text
    assert left_out(Path("f"), {"odd": numbers}) == [f"f, {text}: odd; left out"]
