"""Reads the study's runs from what verl wrote, and keeps them as two small files: `runs.csv` and `curves.csv`.

runs.csv has a row for each run, with the number of right answers to each held-out problem as a string of letters;
curves.csv has its training figures, each the mean of `EVERY` steps.
"""

import csv
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from frpo_verl.evaluation import dumps, file_log, metrics
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.pass_at_k import pass_at_k
from study import task

EVERY = 5
BASE = "base"
"""The model before training, as a method of its own: a row for each seed."""
CURVES = {
    "reward": "critic/score/mean",
    "entropy": "actor/entropy",
    "drift": "actor/kl_loss",
    "length": "response_length/mean",
    "seconds": "timing_s/step",
    "reference_seconds": "timing_s/ref",
}
"""Column of curves.csv and verl's metric; drift is k3 to the reference in nats per token, at the updates."""
PER_RESPONSE = {"entropy": "actor/entropy_loss", "drift": "actor/kl_loss"}
"""Metrics that verl has of `drpo`: sums over a response, divided by `LOSS_SCALE`, both at the updates."""
LOSS_SCALE = 16
"""`actor.loss_scale_factor` of `drpo`."""
WITHOUT_REFERENCE = ("no_kl", "lambda_grpo", "drpo")
"""Methods that pay the reference's pass here only because their drift is measured."""
_LETTERS = string.digits + string.ascii_lowercase


class Run(NamedTuple):
    """One run's outcome.

    Attributes:
        method: as METHODS names it.
        strength: β, or DRPO's δ; 0 for methods without one.
        seed: of data and sampling.
        samples: of each held-out problem.
        validation: right answers of each validation problem.
        test: right answers of each test problem.
        curve: the columns of `CURVES` by step.
    """

    method: str
    strength: float
    seed: int
    samples: int
    validation: list[int]
    test: list[int]
    curve: dict[int, dict[str, float]]

    def passed(self, part: str, k: int) -> float:
        """Estimates pass@k, the mean over the problems of `validation` or `test`."""
        return fmean(self.passed_each(part, k))

    def passed_each(self, part: str, k: int) -> list[float]:
        """Estimates pass@k of each problem of `validation` or `test`."""
        return [pass_at_k(self.samples, right, k) for right in getattr(self, part)]

    def last(self, quantity: str) -> float:
        """Returns a quantity's mean over the last steps."""
        return self.curve[max(self.curve)][quantity]

    def passes(self) -> float:
        """Returns a step's median time in passes of the reference, less one where it only measures.

        The pass is the same for all methods, so that runs of a machine under different loads can be compared.
        """
        steps = median(of["seconds"] / of["reference_seconds"] for of in self.curve.values())
        return steps - (self.method in WITHOUT_REFERENCE)


def collect(folder: Path) -> list[Run]:
    """Reads all finished runs of a folder, and the base model from those that validated it."""
    found = []
    for mark in sorted(folder.glob("*-seed-*/finished")):
        method, strength, _, seed = mark.parent.name.rsplit("-", 3)
        files = dumps.files(mark.parent / "validation")
        steps = [step for step in _steps(mark.parent / "metrics.jsonl") if step.step > 0]
        found.append(_run(method, float(strength), int(seed), files[max(files)], steps))
        if 0 in files:
            found.append(_run(BASE, 0, int(seed), files[0], []))
    return found


def _steps(file: Path) -> list[Step]:
    log = metrics.joined(file, file_log.records(file))
    if log.notes:
        raise ValueError(f"{'; '.join(log.notes)}: a finished run has whole lines, run it again")
    return log.steps


def _run(method: str, strength: float, seed: int, dump: Path, steps: Sequence[Step]) -> Run:
    scores: dict[str, list[float]] = {}
    for _, row in dumps.samples(dump, int(dump.stem)):
        scores.setdefault(row["input"], []).append(row["score"])
    parts = task.split()
    right = {part: [round(sum(scores[problem.text])) for problem in parts[part]] for part in task.HELD_OUT}
    samples = {len(of_problem) for of_problem in scores.values()}
    if len(samples) != 1:
        raise ValueError(f"{dump}: problems have {sorted(samples)} samples; a response failed, run it again")
    return Run(method, strength, seed, samples.pop(), right["validation"], right["test"], dict(_thinned(method, steps)))


def _thinned(method: str, steps: Sequence[Step]) -> Iterator[tuple[int, dict[str, float]]]:
    for start in range(0, len(steps), EVERY):
        part = steps[start : start + EVERY]
        figures = [_figures(method, step.metrics) for step in part]
        yield part[-1].step, {name: fmean(of[name] for of in figures) for name in CURVES}


def _figures(method: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Reads a step's figures; those that `drpo` has by the response are made figures by the token."""
    figures = {name: metrics.get(metric, math.nan) for name, metric in CURVES.items()}
    if method == "drpo":
        tokens = figures["length"] / LOSS_SCALE
        figures |= {name: metrics.get(metric, math.nan) / tokens for name, metric in PER_RESPONSE.items()}
    return figures


def write(runs: Sequence[Run], folder: Path) -> None:
    """Writes the two files."""
    with (folder / "runs.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["method", "strength", "seed", "samples", "validation", "test"])
        for run in runs:
            right = ["".join(_LETTERS[n] for n in part) for part in (run.validation, run.test)]
            rows.writerow([*run[:4], *right])
    with (folder / "curves.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["method", "strength", "seed", "step", *CURVES])
        for run in runs:
            for step, values in run.curve.items():
                rows.writerow([*run[:3], step, *(f"{values[name]:.4g}" for name in CURVES)])


def read(folder: Path) -> list[Run]:
    """Reads the two files."""
    curves: dict[Any, dict[int, dict[str, float]]] = {}
    with (folder / "curves.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["method"], float(row["strength"]), int(row["seed"]))
            curves.setdefault(key, {})[int(row["step"])] = {name: float(row[name]) for name in CURVES}
    with (folder / "runs.csv").open() as file:
        runs = []
        for row in csv.DictReader(file):
            key = (row["method"], float(row["strength"]), int(row["seed"]))
            right = _counts(row["validation"]), _counts(row["test"])
            runs.append(Run(*key, int(row["samples"]), *right, curves.get(key, {})))
        return runs


def _counts(text: str) -> list[int]:
    return [_LETTERS.index(letter) for letter in text]
