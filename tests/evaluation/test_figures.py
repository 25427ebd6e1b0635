"""The figures: their size, and that they are drawn whatever is missing."""

import math
import sys

import pytest
from evaluation.one_run import DUMPS, STEPS, run_of, size_of_png

from frpo_verl.evaluation import figures
from frpo_verl.evaluation.compared import Comparison, Quantity
from frpo_verl.evaluation.run_log import Step

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("command", "height"),
    [
        # Small print: pass@k, seed and one line of command; 880 + 3 * 14.
        ("python -m verl", 922),
        # A word of 175 fills the line of 184 with "command: " (9); the second word starts another.
        ("x" * 175 + " y", 936),
    ],
)
def test_a_runs_figure_is_a_png_of_the_stated_size(tmp_path, command, height):
    figures.of_run(run_of(command=command), tmp_path / "learned.png")
    assert size_of_png(tmp_path / "learned.png") == (1200, height)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("steps", "dumps"),
    [
        (STEPS, {}),
        (STEPS[:1], {}),
        (STEPS[:2], {0: {"p": [1.0]}}),
        ([Step(1, {"critic/score/mean": math.nan, "actor/entropy": -1.0})], DUMPS),
    ],
)
def test_a_runs_figure_is_drawn_whatever_is_missing(tmp_path, steps, dumps):
    figures.of_run(run_of(steps, dumps), tmp_path / "learned.png")
    assert size_of_png(tmp_path / "learned.png")[0] == 1200


def test_dollars_in_a_command_start_no_mathematics(tmp_path):
    figures.of_run(run_of(command=r"python a=$x_$ actor_rollout_ref.model.path=$\frac$"), tmp_path / "learned.png")
    assert size_of_png(tmp_path / "learned.png")[0] == 1200


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("panels", [1, 4])
def test_methods_are_drawn_with_what_they_have_logged(tmp_path, panels):
    methods = {"frpo": {0: [0.5, 0.25], 2: [1.0, 1.0]}, "last": {2: [math.nan, 1.0]}, "none": {}}
    methods |= {f"method {n}": {1: [0.5, 0.5], 2: [0.5, 0.5]} for n in range(6)}
    quantities = tuple(Quantity(f"quantity {n}", methods) for n in range(panels))
    figures.of_methods(Comparison(dict.fromkeys(methods, 2), quantities), tmp_path / "curves.png")
    assert size_of_png(tmp_path / "curves.png") == (500 * panels, 480)


def test_without_matplotlib_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(figures.CannotDraw, match="the figure needs matplotlib.*: pip install matplotlib"):
        figures.of_run(run_of(), tmp_path / "learned.png")
