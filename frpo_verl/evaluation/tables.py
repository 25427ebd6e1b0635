"""Writes what runs learned as text: one run before and after, or the end of several methods side by side."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from frpo_verl.evaluation.compared import Comparison
from frpo_verl.evaluation.learned import Learned, Point

LAST = 5
"""Steps at the end of a run that are averaged: one step's batch is small."""


def of_run(run: Learned) -> str:
    """Returns the quantities of a run before and after training as aligned plain text; '-' where one is missing."""
    rows = [("", "before", "step", "after", "step", "change", "unit", "source")]
    for quantity in run.quantities:
        before, after = quantity.before, quantity.after
        change = number(after.value - before.value, sign="+") if before and after else "-"
        rows.append((quantity.name, *_cells(before), *_cells(after), change, quantity.unit, quantity.source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = "<>>>>><<"
    lines = [
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, aligns, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([run.title, "", *lines, "", *small_print(run)])


def of_methods(compared: Comparison) -> str:
    """Returns a Markdown table of the last `LAST` steps of each method: mean and range over its seeds.

    What was measured before training too, as validation is, stands before an arrow.
    """
    lines = [
        f"| method | seeds | {' | '.join(quantity.title for quantity in compared.quantities)} |",
        f"| --- | --- |{' --- |' * len(compared.quantities)}",
    ]
    for name, seeds in compared.seeds.items():
        cells = [_before_and_end(quantity.methods[name]) for quantity in compared.quantities]
        lines.append(f"| {name} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


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


def _mean_and_range(steps: Sequence[Sequence[float]]) -> str:
    seeds = [fmean(seed) for seed in zip(*steps, strict=True)]
    # + 0.0 turns -0.0 into 0.0
    mean, least, most = (f"{round(value, 3) + 0.0:.3f}" for value in (fmean(seeds), min(seeds), max(seeds)))
    return f"{mean} ({least} to {most})"
