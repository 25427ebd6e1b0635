"""Finds a quantity in verl's metrics of a run, and the range of several seeds at each step."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from frpo_verl.evaluation.run_log import Step

REWARD = ("critic/score/mean",)
# FPA's trainer, which samples for validation only, measures on those samples.
ENTROPY = ("actor/entropy", "fpa/sampled_entropy/token_mean")
# A run with FRPO logs the first, verl with this project's patches the second. The penalty in the loss logs its own
# estimate, k3, under the policy that is being updated.
DIVERGENCE = (
    "frpo/divergence_to_ref/token_mean",
    "actor/future_kl_penalty",
    "actor/kl_loss",
    "fpa/divergence_to_ref/token_mean",
)
"""Names of one quantity, the best first: of these, the first that a run has logged counts."""


class Series(NamedTuple):
    """One metric of one run: its name, and its values by step."""

    metric: str
    points: dict[int, float]


class Band(NamedTuple):
    """One step of several runs."""

    step: int
    least: float
    mean: float
    greatest: float


def series(steps: Sequence[Step], metrics: Sequence[str]) -> Series:
    """Returns the first of the metrics that any step logged; the first name without points where none was logged."""
    found = (
        Series(name, {step.step: step.metrics[name] for step in steps if name in step.metrics}) for name in metrics
    )
    return next((logged for logged in found if logged.points), Series(metrics[0], {}))


def bands(values: Mapping[int, Sequence[float]]) -> list[Band]:
    """Returns the range and the mean over the seeds at each step."""
    return [Band(step, min(seeds), fmean(seeds), max(seeds)) for step, seeds in values.items()]
