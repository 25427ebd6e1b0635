"""Draws what runs learned: one run over its steps, or several methods next to each other."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frpo_verl.evaluation.compared import Comparison, Values
from frpo_verl.evaluation.learned import Learned, Quantity
from frpo_verl.evaluation.series import bands
from frpo_verl.evaluation.tables import number, small_print

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 1200
PANELS_PX = 880
FOOTER_LINE_PX = 14
FOOTER_COLUMNS = 184
DPI = 128  # a power of two: pixels / DPI is exact, so the image has exactly the stated size

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
PALETTE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart under every common colour blindness."""


class CannotDraw(RuntimeError):
    """matplotlib is missing; the message is one sentence for the user."""


def of_run(run: Learned, path: Path) -> None:
    """Draws reward, held-out pass@k, divergence to the reference and entropy of a run over its steps.

    The PNG is 1200 pixels wide and 880 high, plus 14 for each line of small print.
    """
    lines = [line for text in small_print(run) for line in textwrap.wrap(text, FOOTER_COLUMNS, break_on_hyphens=False)]
    height = PANELS_PX + FOOTER_LINE_PX * len(lines)
    drawing = _sheet(WIDTH_PX, height)
    # A command may hold $, which would otherwise start mathematics.
    drawing.suptitle(run.title, y=1 - 20 / height, va="top", fontsize=12, parse_math=False)
    style = {"fontsize": 5.6, "family": "monospace", "linespacing": 1.15, "color": GREY}
    drawing.text(20 / WIDTH_PX, 12 / height, "\n".join(lines), va="bottom", parse_math=False, **style)
    panels = drawing.subplots(2, 2)
    top, bottom = 1 - 115 / height, 1 - (PANELS_PX - 75) / height
    drawing.subplots_adjust(left=0.075, right=0.975, top=top, bottom=bottom, wspace=0.2, hspace=0.45)
    steps = [point.step for quantity in run.quantities for point in quantity.points] or [0]
    _draw_logged(panels[0, 0], run.reward, steps)
    _draw_held_out(panels[0, 1], run.pass_at_1, run.pass_at_8, steps)
    _draw_logged(panels[1, 0], run.divergence, steps)
    _draw_logged(panels[1, 1], run.entropy, steps)
    drawing.savefig(path, dpi=DPI, format="png")


def of_methods(compared: Comparison, path: Path) -> None:
    """Draws the quantities of all methods over their steps; a band is the range over the seeds.

    The PNG is 480 pixels high, and 500 wide for each quantity.
    """
    drawing = _sheet(500 * len(compared.quantities), 480, layout="constrained")
    panels = drawing.subplots(1, len(compared.quantities), squeeze=False)[0]
    for axes, quantity in zip(panels, compared.quantities, strict=True):
        for (name, seeds), colour in zip(compared.seeds.items(), PALETTE * len(compared.seeds), strict=False):
            _draw_band(axes, quantity.methods[name], f"{name} ({seeds} seed{'s' if seeds > 1 else ''})", colour)
        axes.set_title(quantity.title, fontsize=9.5, loc="left")
        _frame(axes)
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
    drawing.savefig(path, dpi=DPI, format="png")


def _sheet(width: int, height: int, **how: str) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise CannotDraw(f"the figure needs {error.name}: pip install matplotlib") from None
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, **how)


def _frame(axes: "Axes") -> None:
    axes.set_xlabel("training step", fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _frame_of_run(axes: "Axes", unit: str, source: str, steps: Sequence[int]) -> None:
    _frame(axes)
    axes.set_ylabel(unit, fontsize=8)
    axes.text(1, 1.025, source, transform=axes.transAxes, ha="right", fontsize=7, color=GREY, parse_math=False)
    padding = max(0.5, 0.04 * (max(steps) - min(steps)))
    axes.set_xlim(min(steps) - padding, max(steps) + padding)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)
    axes.yaxis.get_offset_text().set_fontsize(7)
    axes.margins(y=0.08)


def _draw_logged(axes: "Axes", quantity: Quantity, steps: Sequence[int]) -> None:
    _frame_of_run(axes, quantity.unit, quantity.source, steps)
    axes.set_title(f"{quantity.name}: {_ends(quantity)}", fontsize=9.5, loc="left", pad=16)
    _draw_points(axes, quantity, BLUE, "o", "-")


def _draw_held_out(axes: "Axes", pass_at_1: Quantity, pass_at_8: Quantity, steps: Sequence[int]) -> None:
    _frame_of_run(axes, pass_at_1.unit, f"held-out: {pass_at_1.source}", steps)
    axes.set_title(f"● pass@1: {_ends(pass_at_1)}", fontsize=9.5, loc="left", pad=16, color=BLUE)
    axes.set_title(f"■ pass@8: {_ends(pass_at_8)}", fontsize=9.5, loc="right", pad=16, color=VERMILLION)
    _draw_points(axes, pass_at_1, BLUE, "o", ":")
    if pass_at_8.points:
        _draw_points(axes, pass_at_8, VERMILLION, "s", ":")
    axes.set_ylim(bottom=0)


def _ends(quantity: Quantity) -> str:
    return " → ".join("-" if point is None else number(point.value) for point in (quantity.before, quantity.after))


def _draw_points(axes: "Axes", quantity: Quantity, colour: str, marker: str, line: str) -> None:
    if not quantity.points:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=GREY, fontsize=9)
        axes.set_yticks([])
        return
    steps, values = [point.step for point in quantity.points], [point.value for point in quantity.points]
    axes.plot(steps, values, line, color=colour, linewidth=1.4)
    marked = [point for point in quantity.points if point.standard_error is not None]
    marked = marked or list(filter(None, (quantity.before, quantity.after)))
    axes.errorbar(
        [point.step for point in marked],
        [point.value for point in marked],
        [point.standard_error or 0.0 for point in marked],
        fmt=marker,
        color=colour,
        markersize=6,
        capsize=3,
        clip_on=False,
    )


def _draw_band(axes: "Axes", values: Values, label: str, colour: str) -> None:
    points = bands(values)
    if not points:
        return
    steps, least, mean, greatest = zip(*points, strict=True)
    axes.plot(steps, mean, "." if len(steps) == 1 else "-", color=colour, linewidth=1.6, label=label)
    axes.fill_between(steps, least, greatest, color=colour, alpha=0.18, linewidth=0)
