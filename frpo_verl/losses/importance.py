"""Compares the policy π with the behaviour μ that sampled, token by token, with numerical care.

Half precision is computed in float32. r − 1 is `expm1` and π − μ is μ·(r − 1), so that neither loses digits where the
two nearly agree.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_LOG_RATIO = 20.0
"""|log r| is held there, as in verl's own losses: r stays below 4.9e8 and (r − 1)² below 2.4e17. No gradient beyond."""


class Importance(NamedTuple):
    """Holds the difference of π and μ on each token.

    Attributes:
        ratio: r = π/μ.
        excess: r − 1.
        gap: π − μ.
    """

    ratio: Float[Tensor, "bs length"]
    excess: Float[Tensor, "bs length"]
    gap: Float[Tensor, "bs length"]


def importance(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
) -> Importance:
    """Computes r = π/μ, r − 1 and π − μ = μ·(r − 1), with log r held within ±20.

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.

    Returns:
        The three, float32 or better; differentiable in `log_prob`.
    """
    old_log_prob = wide(old_log_prob)
    log_ratio = (wide(log_prob) - old_log_prob).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    excess = torch.expm1(log_ratio)
    return Importance(torch.exp(log_ratio), excess, torch.exp(old_log_prob) * excess)


def radius(
    advantages: Float[Tensor, "bs length"],
    delta_low: float,
    delta_high: float,
) -> Float[Tensor, "bs length"]:
    """Returns each token's δ: `delta_high` where A > 0 and π may rise, `delta_low` elsewhere, as in verl's `dppo_tv`.

    Args:
        advantages: A.
        delta_low: δ of tokens whose probability is to fall.
        delta_high: δ of tokens whose probability is to rise.

    Returns:
        δ per token, float32 or better.
    """
    advantages = wide(advantages)
    return torch.where(advantages > 0, torch.full_like(advantages, delta_high), delta_low)


def wide(values: Tensor) -> Tensor:
    """Returns the values in float32 or better."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
