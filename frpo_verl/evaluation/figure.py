"""What one run learned, drawn."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frpo_verl.evaluation.learned import Learned, Quantity
from frpo_verl.evaluation.report import number, small_print

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_PX = 1200
PANELS_PX = 880
FOOTER_LINE_PX = 14
FOOTER_COLUMNS = 184
DPI = 128  # a power of two: pixels / DPI is exact, so the image has exactly the stated size

# Okabe and Ito's palette, told apart under every common colour blindness.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"


def figure(run: Learned, path: Path) -> None:
    """Draws a run over its steps: reward, held-out pass@k, divergence to the reference, entropy.

    Args:
        run: what the run learned.
        path: the PNG to write, 1200 pixels wide and 880 high, plus 14 for each line of small print.
    """
    from matplotlib.figure import Figure

    lines = [line for text in small_print(run) for line in textwrap.wrap(text, FOOTER_COLUMNS, break_on_hyphens=False)]
    height = PANELS_PX + FOOTER_LINE_PX * len(lines)
    drawing = Figure(figsize=(WIDTH_PX / DPI, height / DPI), dpi=DPI)
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


def _ends(quantity: Quantity) -> str:
    return " → ".join("-" if point is None else number(point.value) for point in (quantity.before, quantity.after))


def _frame(axes: "Axes", unit: str, source: str, steps: Sequence[int]) -> None:
    axes.set_xlabel("training step", fontsize=8)
    axes.set_ylabel(unit, fontsize=8)
    axes.text(1, 1.025, source, transform=axes.transAxes, ha="right", fontsize=7, color=GREY, parse_math=False)
    padding = max(0.5, 0.04 * (max(steps) - min(steps)))
    axes.set_xlim(min(steps) - padding, max(steps) + padding)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)
    axes.yaxis.get_offset_text().set_fontsize(7)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.08)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_logged(axes: "Axes", quantity: Quantity, steps: Sequence[int]) -> None:
    _frame(axes, quantity.unit, quantity.source, steps)
    axes.set_title(f"{quantity.name}: {_ends(quantity)}", fontsize=9.5, loc="left", pad=16)
    _draw_points(axes, quantity, BLUE, "o", "-")


def _draw_held_out(axes: "Axes", pass_at_1: Quantity, pass_at_8: Quantity, steps: Sequence[int]) -> None:
    _frame(axes, pass_at_1.unit, f"held-out: {pass_at_1.source}", steps)
    axes.set_title(f"● pass@1: {_ends(pass_at_1)}", fontsize=9.5, loc="left", pad=16, color=BLUE)
    axes.set_title(f"■ pass@8: {_ends(pass_at_8)}", fontsize=9.5, loc="right", pad=16, color=VERMILLION)
    _draw_points(axes, pass_at_1, BLUE, "o", ":")
    if pass_at_8.points:
        _draw_points(axes, pass_at_8, VERMILLION, "s", ":")
    axes.set_ylim(bottom=0)


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
