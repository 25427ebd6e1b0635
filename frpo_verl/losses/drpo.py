"""Regularises the policy by its squared distance from the behaviour, in proportion to the advantage's size (DRPO)."""

import torch
from jaxtyping import Float
from torch import Tensor

from frpo_verl.losses.importance import importance, radius, wide


def drpo(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    delta_low: float,
    delta_high: float,
) -> Float[Tensor, "bs length"]:
    """Computes DRPO's loss of each token.

        −A·r + |A| / (2δ) · μ·(r − 1)²        r = π/μ,  μ·(r − 1)² = (π − μ)·(r − 1)

    Its gradient is −A·r·w·∇log π with w of `drpo_weight`.

    See "Divergence Regularized Policy Optimization" (https://arxiv.org/abs/2606.09821), eq. 8.

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
    return -advantages * ratio + advantages.abs() / (2 * delta) * (gap * excess)


def drpo_weight(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    delta_low: float,
    delta_high: float,
) -> Float[Tensor, "bs length"]:
    """Computes what DRPO multiplies A·r·∇log π by; between 1 − 1/δ and 1 + 1/δ.

        w = 1 − sign(A)·(π − μ)/δ

    See "Divergence Regularized Policy Optimization" (https://arxiv.org/abs/2606.09821), eq. 9.

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.
        advantages: A.
        delta_low: δ where A ≤ 0.
        delta_high: δ where A > 0.

    Returns:
        w per token, float32 or better.
    """
    gap = importance(old_log_prob, log_prob).gap
    return 1 - torch.sign(wide(advantages)) * gap / radius(advantages, delta_low, delta_high)
