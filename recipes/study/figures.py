"""Draws the study: what each method learned by step and by time, and where each strength ends."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from study.results import BASE, Run
from study.tables import WITHOUT_DRIFT, cells, chosen, estimate

PANELS = {"reward": "reward", "entropy": "entropy, nats/token", "drift": "drift from the reference, nats/token"}
BANDS = ("no_kl", "frpo", "kl_loss")
"""Methods whose range over the seeds is drawn; of all, the bands would cover each other."""


def draw(runs: Sequence[Run], file: Path) -> None:
    """Draws curves at the strength that validation chose, and pass@1 and pass@16 over the drift."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(14, 8.5), layout="constrained")
    axes = axes.flat
    trained = [run for run in runs if run.method != BASE]
    colours = {method: f"C{index}" for index, method in enumerate(dict.fromkeys(run.method for run in trained))}
    for method, of in chosen(trained, 1).items():
        steps = sorted(of[0].curve)
        label = f"{method} {of[0].strength:g}" if of[0].strength else method
        for axis, (name, title) in zip(axes, PANELS.items(), strict=False):
            values = [[run.curve[step][name] for run in of] for step in steps]
            axis.plot(steps, [fmean(at) for at in values], color=colours[method], label=label)
            if method in BANDS:
                low, high = [*map(min, values)], [*map(max, values)]
                axis.fill_between(steps, low, high, color=colours[method], alpha=0.12, lw=0)
            axis.set(xlabel="step", ylabel=title)
        passes = fmean(run.passes() for run in of)
        rewards = [fmean(run.curve[step]["reward"] for run in of) for step in steps]
        axes[3].plot([step * passes for step in steps], rewards, color=colours[method])
    axes[3].set(xlabel="time of training, in passes of the reference", ylabel="reward")
    for axis, k in zip(axes[4:], (1, 16), strict=True):
        _outcomes(axis, [run for run in runs if k <= run.samples], k, colours)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=9, frameon=False)
    figure.savefig(file, dpi=90)
    pyplot.close(figure)


def _outcomes(axis: object, runs: Sequence[Run], k: int, colours: dict[str, str]) -> None:
    """Draws a method's strengths, joined, with intervals over seeds; the base model is a line."""
    ends: dict[str, list[tuple[float, float, float, float]]] = {}
    for (method, strength), of in cells(runs).items():
        passed = estimate([[run.passed("test", k)] for run in of])
        if method == BASE:
            axis.axhline(passed.mean, color="grey", ls=":", lw=1)
        elif method != WITHOUT_DRIFT:
            drift = fmean(run.last("drift") for run in of)
            ends.setdefault(method, []).append((strength, drift, passed.mean, passed.half))
    for method, points in ends.items():
        strengths, drifts, means, halves = zip(*sorted(points), strict=True)
        axis.errorbar(drifts, means, yerr=halves, fmt="o-", ms=4, lw=1, elinewidth=0.5, color=colours[method])
        for strength, drift, mean in zip(strengths, drifts, means, strict=True):
            axis.annotate(f"{strength:g}", (drift, mean), (3, 3), textcoords="offset points", fontsize="x-small")
    axis.set(xlabel="drift at the end, nats/token", ylabel=f"pass@{k} on the test problems")
