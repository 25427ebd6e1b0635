"""Names the quantities that pictures and tables show, and finds them in a run's metrics."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from frpo_verl.evaluation.metrics import Step

REWARD = ("critic/score/mean",)
# FPA's trainer, which samples for validation only, measures on those samples.
ENTROPY = ("actor/entropy", "fpa/sampled_entropy/token_mean")
# A run with FRPO logs the first, verl with this project's patches the second. The penalty in the loss logs its own
# estimate, k3, under the policy that is being updated.
DIVERGENCE = (
    "frpo/divergence_to_ref/token_mean",
    "actor/future_kl_penalty",
    "actor/kl_loss",
    "actor/reward_kl_penalty",
    "fpa/divergence_to_ref/token_mean",
)
LENGTH = ("response_length/mean",)
BETA = ("frpo/beta", "actor/future_kl_penalty_coeff", "actor/kl_coef", "actor/reward_kl_penalty_coeff")
SHARE = ("frpo/future_term/variance_share",)
"""Names of one quantity, the best first: of these, the first that a run has logged counts."""

PROFILE = tuple(f"frpo/future_term/profile/tenth_{n:02d}" for n in range(1, 11))
"""The future term over a response, from its first tenth to its last."""

STEP = "training step"


class Panel(NamedTuple):
    """Says what is drawn over what; `metrics` are empty where it is computed of the samples."""

    title: str
    unit: str
    says: str
    metrics: tuple[str, ...] = ()
    axis: str = STEP


LOGGED = (
    Panel("reward, training", "score", "Mean score of the training batch.", REWARD),
    Panel("drift from the reference", "nats/token", "Divergence to the reference policy, per token.", DIVERGENCE),
    Panel("entropy", "nats/token", "Entropy of the policy, per token.", ENTROPY),
    Panel("response length", "tokens", "Mean length of the sampled responses.", LENGTH),
    Panel("β", "coefficient", "Coefficient of the divergence, wherever the method has it.", BETA),
    Panel("future term's share", "of the variance", "Part of the advantage's variance made by it.", SHARE),
)
"""The quantities that a run logs once a step."""


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
