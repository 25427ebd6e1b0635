"""The tables, to the letter."""

import math

import pytest
from evaluation.one_run import DUMPS, STEPS, TABLE, read_of, run_of

from frpo_verl.evaluation.compared import Comparison, Quantity
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.series import Panel
from frpo_verl.evaluation.tables import number, of_methods, of_run, rows_of_methods, rows_of_quantity


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


REWARD = Panel("reward", "score", "says")


def of_reward(**methods):
    runs = {name: [read_of()] * len(next(iter(values.values()), [0])) for name, values in methods.items()}
    return Comparison(runs, (Quantity(REWARD, methods, (), ()),), (), ())


def test_methods_are_compared_by_the_mean_and_range_over_their_seeds():
    table = of_methods(of_reward(frpo={1: [0.25, 0.75], 2: [0.5, 1.0]}, other={}))
    assert table.splitlines() == [
        "| method | seeds | reward, score |",
        "| --- | --- | --- |",
        "| frpo | 2 | 0.625 (0.375 to 0.875) |",
        "| other | 1 | not logged |",
    ]


def test_the_table_of_methods_has_what_is_over_steps_alone():
    profile = Quantity(Panel("p", "nats", "says", axis="k"), {"x": {1: [1.0]}}, (), ())
    assert of_methods(Comparison({"x": [read_of()]}, (profile,), (), ())).splitlines()[0] == "| method | seeds |"


def cell(values):
    return rows_of_methods(of_reward(x=values))[1][2]


def test_the_last_five_steps_of_each_seed_are_averaged():
    # 5 to 9: a mean of 7.
    assert cell({step: [step, -step] for step in range(1, 10)}) == "0.000 (-7.000 to 7.000)"
    # of these steps, those that were logged
    assert cell({4: [9.0, 9.0], 5: [1.0, 1.0], 9: [2.0, 2.0]}) == "1.500 (1.500 to 1.500)"


def test_what_was_measured_before_training_stands_before_an_arrow_and_is_not_averaged():
    assert cell({0: [0.1, 0.3], 2: [0.5, 0.9]}) == "0.200 (0.100 to 0.300) → 0.700 (0.500 to 0.900)"
    assert cell({0: [0.1, 0.3]}) == "0.200 (0.100 to 0.300)"


def test_a_single_seed_has_no_range():
    assert cell({0: [0.1], 2: [0.004]}) == "0.100 → 4.00e-03"


def test_the_numbers_of_a_picture_are_those_of_its_steps_and_a_dash_where_a_method_has_none():
    quantity = Quantity(REWARD, {"a": {1: [0.25, 0.75], 2: [0.5, 1.0]}, "b": {2: [math.nan], 3: [1.0]}}, (), ())
    assert rows_of_quantity(quantity, 5) == [
        ["training step", "a", "b"],
        ["1", "0.500 (0.250 to 0.750)", "-"],
        ["2", "0.750 (0.500 to 1.000)", "not finite"],
        ["3", "-", "1.000"],
    ]


@pytest.mark.parametrize("steps", [1, 5, 6, 9, 10, 11, 100])
def test_of_many_steps_some_are_shown_evenly_the_last_among_them(steps):
    quantity = Quantity(REWARD, {"a": {step: [0.0] for step in range(1, steps + 1)}}, (), ())
    shown = [int(row[0]) for row in rows_of_quantity(quantity, 5)[1:]]
    assert shown[-1] == steps and len(shown) <= 5
    assert len({b - a for a, b in zip(shown, shown[1:], strict=False)}) <= 1
