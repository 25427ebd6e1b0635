"""Draws quantities of several methods: all in one picture, or each as an SVG for a page."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frpo_verl.evaluation.compared import Comparison, Quantity, Values
from frpo_verl.evaluation.series import STEP, bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID = "#303438", "#c9ced3"
PALETTE = ("#0072b2", "#c44e00", "#007a5a", "#a63d84", "#866600", "#55595e")
"""After Okabe and Ito, told apart under every common colour blindness, darkened to 3:1 and more on white."""
DASHES = ("-", "--", ":", "-.")
"""One for each round of the palette: 24 methods look different."""

INCHES = 5.0, 3.1
"""Width and height of a panel."""
MOST_COLUMNS = 4


class CannotDraw(RuntimeError):
    """matplotlib is missing, or the file is of no kind that it writes; the message is one sentence for the user."""


def style(index: int) -> tuple[str, str]:
    """Returns the colour and the dashes of a method."""
    return PALETTE[index % len(PALETTE)], DASHES[index // len(PALETTE) % len(DASHES)]


def picture(compared: Comparison, path: Path) -> None:
    """Draws every quantity into one file, whose name says of which kind it is; raises CannotDraw."""
    columns = min(MOST_COLUMNS, max(1, math.ceil(math.sqrt(len(compared.quantities)))))
    rows = math.ceil(len(compared.quantities) / columns) or 1
    drawing = _figure(INCHES[0] * columns, INCHES[1] * rows)
    for index, quantity in enumerate(compared.quantities, start=1):
        axes = drawing.add_subplot(rows, columns, index)
        axes.set_title(quantity.panel.title, fontsize=12, loc="left", color=INK)
        draw(axes, quantity)
    if len(compared.runs) > 1:
        from matplotlib.lines import Line2D

        marks = [Line2D([], [], color=colour, linestyle=dash) for colour, dash in map(style, range(len(compared.runs)))]
        drawn = drawing.legend(marks, legend(compared), loc="outside lower center", ncols=columns * 2, frameon=False)
        for text in drawn.get_texts():
            # a name may hold $, which would otherwise start mathematics
            text.set_parse_math(False)
    try:
        drawing.savefig(path, dpi=128)
    except ValueError as error:
        raise CannotDraw(f"{path}: {error}") from None


def svg(quantity: Quantity, salt: str) -> str:
    """Draws one quantity without its title, as an SVG whose texts are texts; `salt` makes its names its own."""
    drawing = _figure(*INCHES)
    draw(drawing.add_subplot(), quantity)
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def legend(compared: Comparison) -> list[str]:
    """Returns each method's name with the number of its seeds, where that is not one."""
    return [f"{name} ({len(runs)} seeds)" if len(runs) > 1 else name for name, runs in compared.runs.items()]


def draw(axes: "Axes", quantity: Quantity) -> None:
    """Draws each method's mean over its seeds as a line, and their range as a band."""
    panel = quantity.panel
    for index, values in enumerate(quantity.methods.values()):
        _draw_band(axes, values, index, 0.18 if len(quantity.methods) <= len(PALETTE) else 0.1)
    axes.set_xlabel(panel.axis, fontsize=11, color=INK)
    axes.set_ylabel(panel.unit, fontsize=11, color=INK)
    axes.tick_params(labelsize=11, colors=INK)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)
    axes.margins(y=0.08)
    if panel.unit == "probability":
        axes.set_ylim(bottom=0)
    if panel.axis != STEP:
        axes.set_xticks(sorted({x for values in quantity.methods.values() for x in values}))


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise CannotDraw(f"a picture needs {error.name}: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def _draw_band(axes: "Axes", values: Values, index: int, alpha: float) -> None:
    points = bands(values)
    if not points:
        return
    steps, least, mean, greatest = zip(*points, strict=True)
    colour, dash = style(index)
    (line,) = axes.plot(steps, mean, dash, color=colour, linewidth=1.8, marker="o", markersize=_marker(mean))
    line.set_gid(f"series-{index}-line")
    if any(low != high for low, high in zip(least, greatest, strict=True)):
        band = axes.fill_between(steps, least, greatest, color=colour, alpha=alpha, linewidth=0)
        band.set_gid(f"series-{index}-band")


def _marker(values: Sequence[float]) -> float:
    """Returns the size of the points: none where many make a line, and some where one alone would not be seen."""
    return 4.5 if len(values) <= 12 or not all(map(math.isfinite, values)) else 0
