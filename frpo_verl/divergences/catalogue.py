"""Lists the divergences that can be chosen by name."""

import math

import torch
from torch import Tensor

from frpo_verl.divergences import parts
from frpo_verl.divergences.generator import Generator, log_ratio_itself

_EVERYTHING = (-math.inf, math.inf)
_FROM_ZERO = (0.0, math.inf)

REVERSE_KL = Generator(
    name="reverse KL (k1)",
    local=log_ratio_itself,
    future=log_ratio_itself,
    formula="−log u",
    aliases=("kl", "k1", "reverse_kl"),
    local_range=_EVERYTHING,
    future_range=_EVERYTHING,
    gradient_at_zero=1.0,
    curvature=1.0,
)
"""KL(π_θ‖π_ref), sampled by k1 = δ: reg_i = Σ_{j≥i} δ_j (arXiv 2601.10201, eq. 4.5)."""

REVERSE_KL_K3 = Generator(
    name="reverse KL (k3)",
    local=log_ratio_itself,
    future=parts.k3,
    formula="−log u + u − 1",
    aliases=("low_var_kl", "k3", "reverse_kl_k3"),
    local_range=_EVERYTHING,
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=1.0,
)
"""KL(π_θ‖π_ref), sampled by k3. Unlike verl's `low_var_kl`, which cuts k3 at 10, not clipped: see `token_clip`."""

K2 = Generator(
    name="squared log-ratio (k2)",
    local=parts.k2_local,
    future=parts.k2,
    formula="½ log² u",
    aliases=("mse", "k2"),
    local_range=(-0.5, math.inf),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=1.0,
)
"""E_π[δ²]/2. Convex in u for δ > −1 only, hence not an f-divergence there; Theorem 4.1 needs differentiability only."""

FORWARD_KL = Generator(
    name="forward KL",
    local=parts.one_minus_u,
    future=parts.u_log_u,
    formula="u log u",
    aliases=("forward_kl",),
    local_range=(-math.inf, 1.0),
    future_range=(-1 / math.e, math.inf),
    gradient_at_zero=-1.0,
    curvature=1.0,
)
"""KL(π_ref‖π_θ), sampled from the policy by u log u = −δ·exp(−δ)."""

FORWARD_KL_K3 = Generator(
    name="forward KL (k3)",
    local=parts.one_minus_u,
    future=parts.forward_k3,
    formula="u log u − u + 1",
    aliases=("forward_kl_k3", "forward_k3"),
    local_range=(-math.inf, 1.0),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=1.0,
)
"""KL(π_ref‖π_θ) in its one-sided form, 1 − exp(−δ)(1 + δ) (arXiv 2601.10201, section 4)."""

JEFFREYS = Generator(
    name="Jeffreys",
    local=parts.jeffreys_local,
    future=parts.jeffreys,
    formula="(u − 1) log u",
    aliases=("jeffreys",),
    local_range=_EVERYTHING,
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=2.0,
)
"""KL(π_θ‖π_ref) + KL(π_ref‖π_θ)."""

JENSEN_SHANNON = Generator(
    name="Jensen-Shannon",
    local=parts.jensen_shannon_local,
    future=parts.jensen_shannon,
    formula="½ [u log u − (1 + u) log((1 + u)/2)]",
    aliases=("jensen_shannon", "js"),
    local_range=(-math.inf, math.log(2) / 2),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=0.25,
)
"""½ KL(π_θ‖M) + ½ KL(π_ref‖M) with M the mean of the two; at most log 2."""

SQUARED_HELLINGER = Generator(
    name="squared Hellinger",
    local=parts.squared_hellinger_local,
    future=parts.squared_hellinger,
    formula="(√u − 1)²",
    aliases=("squared_hellinger", "hellinger"),
    local_range=(-math.inf, 1.0),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=0.5,
)
"""Σ (√π_θ − √π_ref)²; at most 2."""

PEARSON_CHI2 = Generator(
    name="Pearson χ²",
    local=parts.pearson_local,
    future=parts.pearson,
    formula="(u − 1)²",
    aliases=("pearson_chi2", "pearson"),
    local_range=(-math.inf, 1.0),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=2.0,
)
"""Σ (π_ref − π_θ)²/π_θ. Saturates below δ = −40, where u² would leave float32."""

NEYMAN_CHI2 = Generator(
    name="Neyman χ²",
    local=parts.neyman_local,
    future=parts.neyman,
    formula="(u − 1)²/u",
    aliases=("neyman_chi2", "neyman"),
    local_range=(-2.0, math.inf),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=2.0,
)
"""Σ (π_θ − π_ref)²/π_ref, which is Pearson's χ² of the policy to the reference, as χ²-regularised methods use it."""

TOTAL_VARIATION = Generator(
    name="total variation",
    local=parts.total_variation_local,
    future=parts.total_variation,
    formula="½ |u − 1|",
    aliases=("total_variation", "tv"),
    local_range=(-0.5, 0.5),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=math.inf,
)
"""½ Σ |π_θ − π_ref|; at most 1. At u = 1, where f has a kink, the subgradient 0 is taken: local(0) = 0."""


def alpha(order: float) -> Generator:
    """Makes a member of the α family (Cressie-Read, Amari), with f(1) = f'(1) = 0 and f''(1) = 1.

        f(u) = (u^α − αu − (1 − α)) / (α(α − 1))

    Its limits are the two KLs, α → 0 the reverse and α → 1 the forward one, both in their k3 form; α = ½ is twice the
    squared Hellinger distance, α = 2 half of Pearson's and α = −1 half of Neyman's χ². Where |δ|·|α| leaves 80 it
    saturates.

        local = (1 − u^α)/α,   future = f(u)

    Args:
        order: α, any finite number up to ±16 (beyond that float32 could not tell it from a wall).

    Returns:
        The generator.

    Raises:
        ValueError: α is not finite or beyond ±16.
    """
    if not abs(order) <= 16:
        raise ValueError(f"the order {order:g} of the α family must lie between -16 and 16, for instance alpha:0.5")
    name, aliases = f"α = {order:g}", (f"alpha:{order:g}",)
    if min(abs(order), abs(order - 1)) < 1e-9:
        limit = FORWARD_KL_K3 if order > 0.5 else REVERSE_KL_K3
        return limit._replace(name=f"{name}, {limit.name}", aliases=aliases)
    growth = max(1.0, abs(order))
    held = parts.rising if order > 0 else parts.saturated

    def local(delta: Tensor) -> Tensor:
        return -torch.expm1(-order * held(delta, growth)) / order

    def future(delta: Tensor) -> Tensor:
        # Two ways to write one quotient, each free of cancellation at one of the two limits.
        if order < 0.5:
            delta = held(delta, growth)
            return (torch.expm1(-order * delta) / order - torch.expm1(-delta)) / (order - 1)
        delta = parts.saturated(delta, growth)
        return (torch.exp(-delta) * torch.expm1((1 - order) * delta) / (order - 1) - torch.expm1(-delta)) / order

    return Generator(
        name=name,
        local=local,
        future=future,
        formula="(u^α − αu − (1 − α)) / (α(α − 1))",
        aliases=aliases,
        local_range=(-math.inf, 1 / order) if order > 0 else (1 / order, math.inf),
        future_range=_FROM_ZERO,
        gradient_at_zero=0.0,
        curvature=1.0,
    )


CATALOGUE: tuple[Generator, ...] = (
    REVERSE_KL,
    REVERSE_KL_K3,
    K2,
    FORWARD_KL,
    FORWARD_KL_K3,
    JEFFREYS,
    JENSEN_SHANNON,
    SQUARED_HELLINGER,
    PEARSON_CHI2,
    NEYMAN_CHI2,
    TOTAL_VARIATION,
)
"""Every divergence with a name of its own; the α family is `alpha(order)`."""
