"""Runs side by side, seeds as spread: `python -m frpo_verl.evaluation.curves PNG NAME=RUN_DIR [NAME=RUN_DIR …]`.

Runs of one name are seeds of one method: their mean is a line, their least and greatest a band.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from frpo_verl.evaluation.run_log import RunLogError, read_metrics, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "reward (training)": ("critic/score/mean",),
    "entropy, nats/token": ("actor/entropy",),
    # A verl with FRPO in it logs the mean over responses. The penalty in the loss logs its own estimate, k3, under the
    # policy that is being updated.
    "divergence to the reference, nats/token": (
        "frpo/divergence_to_ref/token_mean",
        "actor/future_kl_penalty",
        "actor/kl_loss",
    ),
}
"""What is drawn, and verl's metrics that say it: the first that a run has logged."""

LAST = 5
"""Steps at the end of a run that the table takes together: one step's batch is small."""

# Okabe and Ito's palette, told apart under every common colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


class Point(NamedTuple):
    """One step of several runs.

    Attributes:
        step: the trainer's.
        least: of the runs.
        mean: over the runs.
        greatest: of the runs.
    """

    step: int
    least: float
    mean: float
    greatest: float


def curve(runs: Sequence[Path], metrics: Sequence[str]) -> list[Point]:
    """One quantity of several seeds.

    Args:
        runs: folders with verl's `metrics.jsonl`.
        metrics: its names; of each run, the first that it has logged.

    Returns:
        A point for every step that all of the runs have logged; empty where a run has logged none of the names.

    Raises:
        RunLogError: a run has no metrics.
    """
    values = _values(runs, metrics)
    return [Point(step, min(found), fmean(found), max(found)) for step, found in values.items()]


def _values(runs: Sequence[Path], metrics: Sequence[str]) -> dict[int, list[float]]:
    """What each run has logged at the steps that all of them have, by step."""
    seeds = []
    for run in runs:
        steps = read_metrics(run / "metrics.jsonl")
        seeds.append(dict(next(filter(None, (series(steps, name) for name in metrics)), [])))
    shared = sorted(set.intersection(*map(set, seeds)))
    return {step: [seed[step] for seed in seeds] for step in shared}


def draw(methods: dict[str, list[Path]], path: Path) -> None:
    """Draws all methods over their steps.

    Args:
        methods: the runs of each, by name.
        path: the PNG to write, 1500 × 480 pixels.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12.5, 4), dpi=120, layout="constrained")
    for axes, (title, metrics) in zip(drawing.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for (name, runs), colour in zip(methods.items(), COLOURS * len(methods), strict=False):
            _line(axes, curve(runs, metrics), f"{name} ({_seeds(runs)})", colour)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("training step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
    drawing.savefig(path, format="png")


def table(methods: dict[str, list[Path]]) -> str:
    """The end of each method: the mean of its last `LAST` steps, then mean and range over its seeds.

    Args:
        methods: the runs of each, by name.

    Returns:
        Markdown.
    """
    lines = [f"| method | seeds | {' | '.join(PANELS)} |", f"| --- | --- |{' --- |' * len(PANELS)}"]
    for name, runs in methods.items():
        cells = [_end(_values(runs, metrics)) for metrics in PANELS.values()]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _end(values: dict[int, list[float]]) -> str:
    if not values:
        return "not logged"
    seeds = [fmean(seed) for seed in zip(*list(values.values())[-LAST:], strict=True)]
    return f"{fmean(seeds):.3f} ({min(seeds):.3f} to {max(seeds):.3f})"


def _seeds(runs: Sequence[Path]) -> str:
    return "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"


def _line(axes: "Axes", points: Sequence[Point], label: str, colour: str) -> None:
    if not points:
        return
    steps = [point.step for point in points]
    axes.plot(steps, [point.mean for point in points], color=colour, linewidth=1.6, label=label)
    band = [point.least for point in points], [point.greatest for point in points]
    axes.fill_between(steps, *band, color=colour, alpha=0.18, linewidth=0)


def _named(word: str) -> tuple[str, Path]:
    name, equals, folder = word.partition("=")
    if not equals or not (Path(folder) / "metrics.jsonl").is_file():
        raise argparse.ArgumentTypeError(f"{word}: not NAME=RUN_DIR with a metrics.jsonl in RUN_DIR")
    return name, Path(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the figure and prints the table.

    Args:
        arguments: the command line without the program's name; None for this process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m frpo_verl.evaluation.curves", description=__doc__)
    parser.add_argument("png", type=Path)
    parser.add_argument("runs", nargs="+", type=_named, metavar="NAME=RUN_DIR")
    options = parser.parse_args(arguments)
    methods: dict[str, list[Path]] = {}
    for name, folder in options.runs:
        methods.setdefault(name, []).append(folder)
    try:
        draw(methods, options.png)
        print(f"Means of the last {LAST} steps (range over the seeds):\n\n{table(methods)}")
    except RunLogError as error:
        raise SystemExit(f"frpo-verl: {error}") from None


if __name__ == "__main__":
    main()
