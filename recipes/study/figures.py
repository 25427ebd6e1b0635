"""Draws the study: what each method learned by step and by second, and where each strength ends."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from study.results import BASE, Run
from study.tables import cells, chosen

PANELS = {"reward": "reward", "entropy": "entropy, nats/token", "drift": "drift from the reference, nats/token"}


def draw(runs: Sequence[Run], file: Path) -> None:
    """Draws curves at the strength that validation chose, and pass@1 and pass@16 over the drift."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(14, 8), layout="constrained")
    axes = axes.flat
    trained = [run for run in runs if run.method != BASE]
    colours = {method: f"C{index}" for index, method in enumerate(dict.fromkeys(run.method for run in trained))}
    for axis, (name, label) in zip(axes, PANELS.items(), strict=False):
        for method, of in chosen(trained, 1).items():
            steps = sorted(of[0].curve)
            values = [[run.curve[step][name] for run in of] for step in steps]
            axis.plot(steps, [fmean(at) for at in values], color=colours[method], label=method)
            axis.fill_between(steps, [*map(min, values)], [*map(max, values)], color=colours[method], alpha=0.12, lw=0)
        axis.set(xlabel="step", ylabel=label)
    for method, of in chosen(trained, 1).items():
        steps = sorted(of[0].curve)
        widths = [step - before for before, step in zip([0, *steps], steps, strict=False)]
        spent = [width * fmean(run.seconds(step) for run in of) for width, step in zip(widths, steps, strict=True)]
        reward = [fmean(run.curve[step]["reward"] for run in of) for step in steps]
        axes[3].plot([*accumulate(spent)], reward, color=colours[method])
    axes[3].set(xlabel="seconds of training", ylabel="reward")
    for axis, k in zip(axes[4:], (1, 16), strict=True):
        for (method, _), of in cells(trained).items():
            if k <= of[0].samples:
                drift, passed = fmean(run.last("drift") for run in of), fmean(run.passed("test", k) for run in of)
                axis.plot(drift, passed, "o", color=colours[method])
        axis.set(xlabel="drift at the end, nats/token", ylabel=f"pass@{k} on the test problems")
    axes[0].legend(fontsize="small")
    figure.savefig(file, dpi=90)
    pyplot.close(figure)
