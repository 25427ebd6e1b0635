"""Writes what runs learned as text: one run before and after, or the end of several methods side by side."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from frpo_verl.evaluation.compared import LAST, Comparison, Quantity
from frpo_verl.evaluation.learned import Learned, Point
from frpo_verl.evaluation.series import STEP


def of_run(run: Learned) -> str:
    """Returns the quantities of a run before and after training as aligned plain text; '-' where one is missing."""
    rows = rows_of_run(run)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = "<>>>>><<"
    lines = [
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, aligns, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([run.title, "", *lines, "", *small_print(run)])


def rows_of_run(run: Learned) -> list[list[str]]:
    """Returns the cells of that table, its head first."""
    rows = [["", "before", "step", "after", "step", "change", "unit", "source"]]
    for quantity in run.quantities:
        before, after = quantity.before, quantity.after
        change = number(after.value - before.value, sign="+") if before and after else "-"
        rows.append([quantity.name, *_cells(before), *_cells(after), change, quantity.unit, quantity.source])
    return rows


def of_methods(compared: Comparison) -> str:
    """Returns a Markdown table of the last `LAST` steps of each method: mean and range over its seeds.

    What was measured before training too, as validation is, stands before an arrow.
    """
    head, *rows = rows_of_methods(compared)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def rows_of_methods(compared: Comparison) -> list[list[str]]:
    """Returns the cells of that table, its head first."""
    shown = [quantity for quantity in compared.quantities if quantity.panel.axis == STEP]
    rows = [["method", "seeds", *(f"{quantity.panel.title}, {quantity.panel.unit}" for quantity in shown)]]
    for name, runs in compared.runs.items():
        rows.append([name, str(len(runs)), *(_before_and_end(quantity.methods[name]) for quantity in shown)])
    return rows


def rows_of_quantity(quantity: Quantity, most: int) -> list[list[str]]:
    """Returns the numbers of a picture, at most about `most` of its steps, the last among them; its head first."""
    steps = sorted({step for values in quantity.methods.values() for step in values})
    stride = max(1, math.ceil(len(steps) / most))
    kept = steps[(len(steps) - 1) % stride :: stride]
    rows = [[quantity.panel.axis, *quantity.methods]]
    for step in kept:
        found = [values.get(step) for values in quantity.methods.values()]
        rows.append([str(step), *("-" if seeds is None else _of_seeds(seeds) for seeds in found)])
    return rows


def small_print(run: Learned) -> list[str]:
    """Returns the lines under a run's table and figure: how pass@k was estimated, the seeds, the command."""
    return [
        f"pass@k: unbiased estimator; ± is one standard error over problems; correct from score {run.correct_at:g} on",
        f"seed: {run.command.seed}; one run",
        f"command: {run.command.text}",
    ]


def number(value: float, sign: str = "") -> str:
    """Returns three decimals, or scientific notation where three decimals would show nothing; `sign` may be `+`."""
    # The last digits of a difference are rounding, not a change; + 0.0 turns -0.0 into 0.0.
    value = round(value, 12) + 0.0
    is_tiny = 0 < abs(value) < 0.01
    return f"{value:{sign}.2e}" if is_tiny else f"{value:{sign}.3f}"


def _cells(point: Point | None) -> tuple[str, str]:
    if point is None:
        return "-", "-"
    spread = "" if point.standard_error is None else f" ± {point.standard_error:.3f}"
    return number(point.value) + spread, str(point.step)


def _before_and_end(values: Mapping[int, Sequence[float]]) -> str:
    if not values:
        return "not logged"
    before, end = [0] if 0 in values else [], [step for step in values if step > max(0, max(values) - LAST)]
    return " → ".join(_mean_and_range([values[step] for step in part]) for part in (before, end) if part)


def _of_seeds(seeds: Sequence[float]) -> str:
    if math.isnan(fmean(seeds)):
        return "not finite"
    mean, least, most = (number(value) for value in (fmean(seeds), min(seeds), max(seeds)))
    return mean if len(seeds) == 1 else f"{mean} ({least} to {most})"


def _mean_and_range(steps: Sequence[Sequence[float]]) -> str:
    return _of_seeds([fmean(seed) for seed in zip(*steps, strict=True)])
