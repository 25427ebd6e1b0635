"""Both tables, to the letter."""

import math

import pytest
from evaluation.one_run import DUMPS, STEPS, TABLE, run_of

from frpo_verl.evaluation.compared import Comparison, Quantity
from frpo_verl.evaluation.run_log import Step
from frpo_verl.evaluation.tables import number, of_methods, of_run


def test_the_table_of_a_run_has_every_figure_before_and_after():
    assert of_run(run_of()) == TABLE


def test_metrics_that_were_not_logged_are_shown_as_a_dash():
    lines = of_run(run_of(steps=[Step(1, {"other": 1.0})], dumps={})).splitlines()[3:8]
    assert len(lines) == 5
    for line in lines:
        assert line.count(" - ") == 5


def test_a_single_measurement_has_no_change():
    table = of_run(run_of(steps=STEPS[:2], dumps={0: DUMPS[0]}))
    assert "0.125     1      -     -       -  score" in table


def test_a_value_that_is_not_finite_is_shown():
    steps = [Step(1, {"critic/score/mean": 0.5}), Step(2, {"critic/score/mean": math.nan})]
    assert "  nan  " in of_run(run_of(steps=steps))


def test_rounding_is_not_shown_as_a_change():
    run = run_of(steps=[Step(1, {"actor/entropy": 0.3}), Step(2, {"actor/entropy": 0.1 + 0.2})])
    assert run.entropy.before.value != run.entropy.after.value
    assert of_run(run).splitlines()[7].split()[1:6] == ["0.300", "1", "0.300", "2", "+0.000"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "+0.010"), (0.00999, "+9.99e-03"), (-0.004, "-4.00e-03"), (-0.0, "+0.000"), (12.0, "+12.000")],
)
def test_a_number_has_three_decimals_unless_they_would_show_nothing(value, text):
    assert number(value, sign="+") == text
    assert number(value) == text.removeprefix("+")


def test_methods_are_compared_by_the_mean_and_range_over_their_seeds():
    reward = {"frpo": {1: [0.25, 0.75], 2: [0.5, 1.0]}, "other": {}}
    table = of_methods(Comparison({"frpo": 2, "other": 1}, (Quantity("reward", reward),)))
    assert table.splitlines() == [
        "| method | seeds | reward |",
        "| --- | --- | --- |",
        "| frpo | 2 | 0.625 (0.375 to 0.875) |",
        "| other | 1 | not logged |",
    ]


def cell(values):
    (row,) = of_methods(Comparison({"x": 2}, (Quantity("reward", {"x": values}),))).splitlines()[2:]
    return row.removeprefix("| x | 2 | ").removesuffix(" |")


def test_the_last_five_steps_of_each_seed_are_averaged():
    # 5 to 9: a mean of 7.
    assert cell({step: [step, -step] for step in range(1, 10)}) == "0.000 (-7.000 to 7.000)"
    # of these steps, those that were logged
    assert cell({4: [9.0, 9.0], 5: [1.0, 1.0], 9: [2.0, 2.0]}) == "1.500 (1.500 to 1.500)"


def test_what_was_measured_before_training_stands_before_an_arrow_and_is_not_averaged():
    assert cell({0: [0.1, 0.3], 2: [0.5, 0.9]}) == "0.200 (0.100 to 0.300) → 0.700 (0.500 to 0.900)"
    assert cell({0: [0.1, 0.3]}) == "0.200 (0.100 to 0.300)"
    assert cell({0: [-0.0001, 0.0]}) == "0.000 (0.000 to 0.000)"
