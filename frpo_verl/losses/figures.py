"""Measures, token by token, how far the policy is from the behaviour and what a loss makes of it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from frpo_verl.losses.importance import importance, radius


class Figures(NamedTuple):
    """Numbers per token under the names by which they are logged, and how they are put together.

    Attributes:
        means: of which the mean over valid tokens is logged.
        largest: not negative; of which the largest is logged. Each name has "max" in it, by which verl knows.
    """

    means: dict[str, Tensor]
    largest: dict[str, Tensor]


def of_region(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    delta_low: float,
    delta_high: float,
    weight: Float[Tensor, "bs length"],
) -> Figures:
    """Measures |π − μ|, whether it is outside of δ, r, and the weight w of the gradient.

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.
        advantages: A.
        delta_low: δ where A ≤ 0.
        delta_high: δ where A > 0.
        weight: w, by which the loss multiplies A·r·∇log π.

    Returns:
        The figures, float32 or better.
    """
    ratio, _, gap = importance(old_log_prob, log_prob)
    distance = gap.abs()
    outside = distance > radius(advantages, delta_low, delta_high)
    return Figures(
        {
            "drpo/distance/token_mean": distance,
            "drpo/outside_share": outside.to(distance.dtype),
            "drpo/weight_change/token_mean": (weight - 1).abs(),
            "drpo/reversed_share": (weight < 0).to(distance.dtype),
        },
        {"drpo/distance/max": distance, "drpo/ratio/max": ratio},
    )
