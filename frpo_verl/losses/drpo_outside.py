"""Regularises as DRPO does, but only tokens that have left the region |π − μ| ≤ δ."""

import torch
from jaxtyping import Float
from torch import Tensor

from frpo_verl.losses.importance import importance, radius, wide


def drpo_outside(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    delta_low: float,
    delta_high: float,
) -> Float[Tensor, "bs length"]:
    """Computes DRPO's loss of each token with the regulariser outside of the region alone.

        −A·r + M · |A| / (2δ) · μ·(r − 1)²        M = 1 where |π − μ| > δ, else 0; constant in the gradient

    Its gradient is −A·r·w·∇log π with w of `drpo_outside_weight`.

    See "Divergence Regularized Policy Optimization" (https://arxiv.org/abs/2606.09821), whose ablations have such a
    variant; M is our reading of it.

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.
        advantages: A.
        delta_low: δ where A ≤ 0.
        delta_high: δ where A > 0.

    Returns:
        One number per token, float32 or better.
    """
    advantages = wide(advantages)
    ratio, excess, gap = importance(old_log_prob, log_prob)
    delta = radius(advantages, delta_low, delta_high)
    return -advantages * ratio + advantages.abs() / (2 * delta) * (_outside(gap, delta) * excess)


def drpo_outside_weight(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    delta_low: float,
    delta_high: float,
) -> Float[Tensor, "bs length"]:
    """Computes what the loss multiplies A·r·∇log π by: 1 inside of the region, DRPO's weight outside.

        w = 1 − M·sign(A)·(π − μ)/δ

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.
        advantages: A.
        delta_low: δ where A ≤ 0.
        delta_high: δ where A > 0.

    Returns:
        w per token, float32 or better.
    """
    delta = radius(advantages, delta_low, delta_high)
    gap = _outside(importance(old_log_prob, log_prob).gap, delta)
    return 1 - torch.sign(wide(advantages)) * gap / delta


def _outside(gap: Float[Tensor, "bs length"], delta: Float[Tensor, "bs length"]) -> Float[Tensor, "bs length"]:
    """M·(π − μ)."""
    return torch.where(gap.abs() > delta, gap, torch.zeros_like(gap))
