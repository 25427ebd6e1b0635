"""Turns one generator into another form of it, so that all forms run on the same code."""

import math

import torch
from torch import Tensor

from frpo_verl.divergences.generator import Generator, refuse_unfit


def appendix_e(generator: Generator) -> Generator:
    """Makes the form of the paper's Appendix E: f itself in the whole inclusive sum, reg_i = Σ_{j≥i} f(u_j).

    Not the gradient of eq. 4.1 unless f is −log u: it drops the direct derivative −f'(u_i)·u_i. On the enumerated
    policy of `tests/oracles.py` its relative error for k3 is 1.09. Theorem 4.1's form is the default.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), Appendix E.

    Args:
        generator: the divergence.

    Returns:
        The generator with the local part replaced by the future part.
    """
    refuse_unfit(generator)
    return generator._replace(
        name=f"{generator.name}, appendix E",
        local=generator.future,
        local_range=generator.future_range,
        curvature=generator.gradient_at_zero,
    )


def token_clip(generator: Generator, limit: float) -> Generator:
    """Clips every δ to [−limit, limit] before the divergence sees it.

    Biased where it bites: it bounds what a single token can do to all tokens before it. OpenRLHF (0.11.0,
    `compute_approx_kl`) and AReaL clamp each token's KL at ±10, verl's `low_var_kl` its δ at ±20.

    Args:
        generator: the divergence.
        limit: the largest |δ|, in nats.

    Returns:
        The generator of the clipped log-ratio.

    Raises:
        ValueError: the limit is not positive, or not finite.
    """
    refuse_unfit(generator)
    if not 0 < limit < math.inf:
        raise ValueError(f"token clip {limit:g}: the limit must be positive and finite, in nats, for instance 10")

    def clipped(delta: Tensor) -> Tensor:
        return delta.clamp(-limit, limit)

    ends = torch.linspace(-limit, limit, 4097, dtype=torch.float64)
    return generator._replace(
        name=f"{generator.name}, |δ| ≤ {limit:g}",
        local=lambda delta: generator.local(clipped(delta)),
        future=lambda delta: generator.future(clipped(delta)),
        local_range=_range(generator.local(ends)),
        future_range=_range(generator.future(ends)),
    )


def _range(values: Tensor) -> tuple[float, float]:
    return values.min().item(), values.max().item()
