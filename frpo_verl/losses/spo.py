"""Regularises the policy by its squared ratio to the behaviour, in proportion to the advantage's size (SPO)."""

import torch
from jaxtyping import Float
from torch import Tensor

from frpo_verl.losses.importance import importance, radius, wide


def spo(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    epsilon_low: float,
    epsilon_high: float,
) -> Float[Tensor, "bs length"]:
    """Computes SPO's loss of each token.

        −A·r + |A| / (2ε) · (r − 1)²        r = π/μ

    Its gradient is −A·r·w·∇log π with w of `spo_weight`.

    See "Simple Policy Optimization" (https://arxiv.org/abs/2401.16025), of which DRPO is the form with ε = δ/μ.

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.
        advantages: A.
        epsilon_low: ε where A ≤ 0.
        epsilon_high: ε where A > 0.

    Returns:
        One number per token, float32 or better.
    """
    advantages = wide(advantages)
    ratio, excess, _ = importance(old_log_prob, log_prob)
    epsilon = radius(advantages, epsilon_low, epsilon_high)
    return -advantages * ratio + advantages.abs() / (2 * epsilon) * excess.square()


def spo_weight(
    old_log_prob: Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    advantages: Float[Tensor, "bs length"],
    epsilon_low: float,
    epsilon_high: float,
) -> Float[Tensor, "bs length"]:
    """Computes what SPO multiplies A·r·∇log π by; unbounded, since r is.

        w = 1 − sign(A)·(r − 1)/ε

    Args:
        old_log_prob: log μ, of the policy that sampled.
        log_prob: log π.
        advantages: A.
        epsilon_low: ε where A ≤ 0.
        epsilon_high: ε where A > 0.

    Returns:
        w per token, float32 or better.
    """
    excess = importance(old_log_prob, log_prob).excess
    return 1 - torch.sign(wide(advantages)) * excess / radius(advantages, epsilon_low, epsilon_high)
