"""The pictures: of every kind, drawn whatever is missing, with each method's look and name."""

import math
import sys
import warnings

import pytest
from evaluation.one_run import DUMPS, STEPS, read_of, size_of_png

from frpo_verl.evaluation import figures
from frpo_verl.evaluation.compared import Comparison, Quantity, compare
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.series import Panel

pytest.importorskip("matplotlib")

PANEL = Panel("title", "probability", "says")


def quantity(methods, panel=PANEL):
    return Quantity(panel, methods, ("metric",), ())


def drawn(methods, panel=PANEL):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    figures.draw(axes, quantity(methods, panel))
    return axes


def test_a_picture_has_a_panel_for_each_quantity_and_is_of_the_kind_that_its_name_says(tmp_path):
    compared = compare({"frpo": [read_of(), read_of()], "none": [read_of(dumps={})]})
    # 6 panels, 3 in a row, of 5 by 3.1 inches and 128 dots
    figures.picture(compared, tmp_path / "a.png")
    assert size_of_png(tmp_path / "a.png") == (5 * 3 * 128, int(3.1 * 2 * 128))
    figures.picture(compared, tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(figures.CannotDraw, match="a.doc: "):
        figures.picture(compared, tmp_path / "a.doc")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("steps", "dumps"),
    [
        (STEPS, {}),
        (STEPS[:1], {}),
        (STEPS[:2], {0: {"p": [1.0]}}),
        ([Step(1, {"critic/score/mean": math.nan, "actor/entropy": math.inf})], DUMPS),
    ],
)
def test_a_picture_is_drawn_whatever_is_missing(tmp_path, steps, dumps):
    figures.picture(compare({"a": [read_of(steps, dumps)]}), tmp_path / "a.png")
    size_of_png(tmp_path / "a.png")


def test_a_line_is_the_mean_and_a_band_the_range_of_the_seeds():
    axes = drawn({"a": {1: [0.25, 0.75], 2: [0.5, 1.0]}, "one": {1: [0.5], 2: [0.5]}, "none": {}})
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 0.5], [2, 0.75]], [[1, 0.5], [2, 0.5]]]
    (band,) = axes.collections
    assert {tuple(point) for point in band.get_paths()[0].vertices.tolist()} >= {
        (1, 0.25),
        (2, 0.5),
        (1, 0.75),
        (2, 1.0),
    }
    assert [line.get_color() for line in axes.lines] == list(figures.PALETTE[:2])
    assert axes.get_ylim()[0] == 0
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "probability")


def test_few_points_are_marked_and_what_is_not_over_steps_has_its_own_ticks():
    axes = drawn({"a": {1: [0.25], 8: [0.5]}}, Panel("t", "nats", "s", axis="k"))
    assert axes.get_xticks().tolist() == [1, 8]
    assert axes.lines[0].get_markersize() > 0
    assert drawn({"a": {n: [0.5] for n in range(20)}}).lines[0].get_markersize() == 0


def test_24_methods_look_different():
    assert len({figures.style(n) for n in range(24)}) == 24
    assert figures.legend(Comparison({"a": [read_of()] * 3, "b": [read_of()]}, (), (), ())) == ["a (3 seeds)", "b"]


def test_an_svg_has_texts_for_readers_and_is_the_same_every_time():
    first, second = (figures.svg(quantity({"a": {1: [0.25, 0.5], 2: [0.5, 0.5]}}), "f0") for _ in range(2))
    assert first == second
    assert ">training step</text>" in first and 'id="series-0-line"' in first and 'id="series-0-band"' in first
    assert first != figures.svg(quantity({"a": {1: [0.25, 0.5], 2: [0.5, 0.5]}}), "f1")


def test_dollars_in_a_name_start_no_mathematics(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.picture(compare({r"$\frac$": [read_of()], "b": [read_of()]}), tmp_path / "a.png")


def test_without_matplotlib_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(figures.CannotDraw, match="a picture needs matplotlib.*: pip install matplotlib"):
        figures.picture(compare({"a": [read_of()]}), tmp_path / "a.png")
