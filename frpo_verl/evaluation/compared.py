"""Compares methods by what their runs measured, at the steps that all seeds of a method have."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

from frpo_verl.evaluation import held_out
from frpo_verl.evaluation.metrics import first
from frpo_verl.evaluation.runs import Run
from frpo_verl.evaluation.series import BETA, LOGGED, PROFILE, Panel, Series, series

LAST = 5
"""Steps at the end of a run that are averaged: one step's batch is small."""

Values = dict[int, list[float]]
"""The value of each seed, by step."""


class Quantity(NamedTuple):
    """One quantity of all methods; a method that did not measure it has no steps.

    `sources` has the metric's names, and `lacking` the runs without it, of methods and of single seeds.
    """

    panel: Panel
    methods: dict[str, Values]
    sources: tuple[str, ...]
    lacking: tuple[str, ...]


class Comparison(NamedTuple):
    """Methods side by side: their runs, the quantities that any of them measured, the titles of those that none did."""

    runs: dict[str, list[Run]]
    quantities: tuple[Quantity, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def compare(runs: Mapping[str, Sequence[Run]], correct_at: float = 1.0) -> Comparison:
    """Finds every quantity in the runs of each method, its seeds.

    Args:
        runs: the runs of each method.
        correct_at: a held-out sample is correct when its score is at least this.

    Returns:
        The methods in their order, and a note on all that is not in the pictures.
    """
    methods = {name: list(seeds) for name, seeds in runs.items()}
    every = [_quantity(panel, methods, find) for panel, find in _panels(methods, correct_at)]
    measured = tuple(quantity for quantity in every if any(quantity.methods.values()))
    missing = tuple(quantity.panel.title for quantity in every if not any(quantity.methods.values()))
    shown = {source for quantity in measured for source in quantity.sources}
    notes = (*_read(methods, shown), *_unequal(methods), *_unlike(methods), *_mixed(measured))
    return Comparison(methods, measured, missing, notes)


def of_seeds(seeds: Sequence[Mapping[int, float]]) -> Values:
    """Returns the values by step of the seeds that have any, at the steps that all of these have.

    Where one of them is not finite, all are NaN, which is a gap in a picture.
    """
    measured = [seed for seed in seeds if seed]
    shared = sorted(set.intersection(*map(set, measured))) if measured else []
    values = {step: [seed[step] for seed in measured] for step in shared}
    return {step: at if all(map(math.isfinite, at)) else [math.nan] * len(at) for step, at in values.items()}


def _panels(methods: Mapping[str, Sequence[Run]], correct_at: float) -> list[tuple[Panel, Callable[[Run], Series]]]:
    most = min((k for seeds in methods.values() for run in seeds if (k := held_out.most_samples(run))), default=0)
    found: list[tuple[Panel, Callable[[Run], Series]]] = []
    for k in dict.fromkeys((1, max(most, 1))):
        says = "Chance that one of" if k > 1 else "Mean share of correct samples: mean@k, which is pass@1."
        says = f"{says} {k} samples of a held-out problem is correct." if k > 1 else says
        panel = Panel(f"pass@{k}, held out", "probability", says)
        found.append((panel, partial(held_out.pass_at_k, k=k, correct_at=correct_at)))
    every = [run for seeds in methods.values() for run in seeds]
    for panel in LOGGED:
        # of one quantity's estimates, one that all runs have
        names = next(([name] for name in panel.metrics if all(map(partial(_has, name), every))), panel.metrics)
        found.append((panel, lambda run, names=names: series(run.log.steps, names)))
    profile = f"Mean of the divergence still to come at each tenth of the responses, last {LAST} steps, before β."
    found.append((Panel("future term along the response", "nats", profile, axis="tenth of the response"), _profile))
    if most > 1:
        says = "pass@k against k at the last validation, from the samples."
        panel = Panel("pass@k by k, held out", "probability", says, axis="k")
        found.append((panel, lambda run: Series("validation dumps", held_out.by_k(run.dumps, most, correct_at))))
    return found


def _has(name: str, run: Run) -> bool:
    return any(name in step.metrics for step in run.log.steps)


def _profile(run: Run) -> Series:
    logged = [step.metrics for step in run.log.steps if PROFILE[0] in step.metrics][-LAST:]
    tenths = {n: [step[name] for step in logged if name in step] for n, name in enumerate(PROFILE, start=1)}
    return Series("frpo/future_term/profile/tenth_…", {n: fmean(values) for n, values in tenths.items() if values})


def _quantity(panel: Panel, methods: Mapping[str, Sequence[Run]], find: Callable[[Run], Series]) -> Quantity:
    found = {name: [find(run) for run in runs] for name, runs in methods.items()}
    sources = dict.fromkeys(seed.metric for seeds in found.values() for seed in seeds if seed.points)
    values = {name: of_seeds([seed.points for seed in seeds]) for name, seeds in found.items()}
    lacking = []
    for name, runs in methods.items():
        without = [str(run.path) for run, seed in zip(runs, found[name], strict=True) if not seed.points]
        lacking += [name] if len(without) == len(runs) else [f"{path} ({name})" for path in without]
    return Quantity(panel, values, tuple(sources), tuple(lacking))


def _read(methods: Mapping[str, Sequence[Run]], shown: set[str]) -> list[str]:
    """Returns what was left out of the runs' files, and where a metric was not finite, those in pictures one by one."""
    notes = []
    for run in (run for runs in methods.values() for run in runs):
        notes += run.notes
        hidden = []
        for name, where in run.log.not_finite.items():
            if name not in shown and name not in PROFILE:
                hidden.append(name)
                continue
            notes.append(f"{first(where, '; ')}: {name} is not a finite number, which leaves a gap")
        if hidden:
            notes.append(f"{run.log.source}: not always finite numbers, and in no picture: {first(hidden)}")
    return notes


def _unequal(methods: Mapping[str, Sequence[Run]]) -> list[str]:
    """Returns a sentence for each method whose seeds are not equally long."""
    notes = []
    for name, runs in methods.items():
        ends = [run.log.steps[-1].step for run in runs]
        if len(set(ends)) > 1:
            said = ", ".join(f"{run.path} at {end}" for run, end in zip(runs, ends, strict=True))
            notes.append(f"{name}: its runs end at different steps ({said}); mean and band stop where one of them does")
    return notes


def _unlike(methods: Mapping[str, Sequence[Run]]) -> list[str]:
    """Returns a sentence where runs validated on other problems than the first, or have unequal numbers of samples."""
    runs = [run for seeds in methods.values() for run in seeds if run.dumps]
    asked = [{key for problems in run.dumps.values() for key in problems} for run in runs]
    others = [f"{run.path} ({len(keys)})" for run, keys in zip(runs, asked, strict=True) if keys != asked[0]]
    notes = []
    if others:
        notes.append(
            f"{first(others)} validated on other problems than {runs[0].path} ({len(asked[0])}): their pass@k cannot "
            "be compared"
        )
    for run in runs:
        samples = [len(scores) for problems in run.dumps.values() for scores in problems.values()]
        least, most = min(samples), max(samples)
        if least < most:
            notes.append(f"{run.path}: its problems have {least} to {most} samples, so k is at most {least}")
    return notes


def _mixed(quantities: Sequence[Quantity]) -> list[str]:
    """Returns a sentence for each quantity of which runs have different estimates."""
    return [
        f"{quantity.panel.title}: the runs have different estimates of it: {first(quantity.sources)}"
        for quantity in quantities
        if len(quantity.sources) > 1 and quantity.panel.metrics != BETA
    ]
