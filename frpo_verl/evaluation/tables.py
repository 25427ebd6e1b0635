"""Writes what runs learned as text: one run before and after, or the end of several methods side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from frpo_verl.evaluation.learned import Learned, Point
from frpo_verl.evaluation.series import DIVERGENCE, ENTROPY, REWARD, of_seeds

METHODS = {
    "reward (training)": REWARD,
    "entropy, nats/token": ENTROPY,
    "divergence to the reference, nats/token": DIVERGENCE,
}
"""The quantities by which methods are compared, and their metrics."""

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


def of_methods(methods: Mapping[str, Sequence[Path]]) -> str:
    """Returns a Markdown table of the last `LAST` steps of each method: mean and range over its seeds."""
    lines = [f"| method | seeds | {' | '.join(METHODS)} |", f"| --- | --- |{' --- |' * len(METHODS)}"]
    for name, runs in methods.items():
        cells = [_end(of_seeds(runs, metrics)) for metrics in METHODS.values()]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
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


def _end(values: Mapping[int, Sequence[float]]) -> str:
    if not values:
        return "not logged"
    seeds = [fmean(seed) for seed in zip(*list(values.values())[-LAST:], strict=True)]
    return f"{fmean(seeds):.3f} ({min(seeds):.3f} to {max(seeds):.3f})"
