"""The divergences that can be chosen by name.

Written as functions of δ that lose no more than a few units in the last place of δ (`expm1` instead of `exp − 1`) and
are finite for every finite δ: an exponent beyond ±80 saturates there, since exp(88.8) overflows float32. Half precision
is computed in float32.
"""

import math

import torch
from torch import Tensor

from frpo_verl.divergences.generator import Generator, log_ratio_itself

LARGEST_EXPONENT = 80.0
"""exp(80) ≈ 6e34: times 80 and summed over a few tokens it is still a float32."""


def _held(delta: Tensor, lowest: float, highest: float | None = None) -> Tensor:
    return delta.to(torch.promote_types(delta.dtype, torch.float32)).clamp(lowest, highest)


def _saturated(delta: Tensor, growth: float = 1.0) -> Tensor:
    """δ held where exp(±growth·δ) is a float32."""
    return _held(delta, -LARGEST_EXPONENT / growth, LARGEST_EXPONENT / growth)


def _rising(delta: Tensor, growth: float = 1.0) -> Tensor:
    """As `_saturated`, on the side δ < 0 only: for functions that are linear or flat where the policy gained."""
    return _held(delta, -LARGEST_EXPONENT / growth)


def _k3(delta: Tensor) -> Tensor:
    delta = _rising(delta)
    return torch.expm1(-delta) + delta


def _k2(delta: Tensor) -> Tensor:
    return _held(delta, -1e18, 1e18).square() / 2


def _k2_local(delta: Tensor) -> Tensor:
    delta = _held(delta, -1e18, 1e18)
    return delta.square() / 2 + delta


def _one_minus_u(delta: Tensor) -> Tensor:
    return -torch.expm1(-_rising(delta))


def _u_log_u(delta: Tensor) -> Tensor:
    delta = _rising(delta)
    return -delta * torch.exp(-delta)


def _forward_k3(delta: Tensor) -> Tensor:
    delta = _rising(delta)
    return -torch.expm1(-delta) - delta * torch.exp(-delta)


def _jeffreys(delta: Tensor) -> Tensor:
    delta = _rising(delta)
    return -delta * torch.expm1(-delta)


def _jeffreys_local(delta: Tensor) -> Tensor:
    delta = _rising(delta)
    return delta - torch.expm1(-delta)


def _log_of_mean_ratios(delta: Tensor) -> tuple[Tensor, Tensor]:
    """log(2u/(1 + u)) and log(2/(1 + u)), without the cancellation of log 2 − softplus near δ = 0."""
    larger = torch.log1p(torch.tanh(delta.abs() / 2))
    return larger - delta.relu(), larger - (-delta).relu()


def _jensen_shannon(delta: Tensor) -> Tensor:
    delta = _rising(delta)
    of_reference, of_policy = _log_of_mean_ratios(delta)
    return (torch.exp(-delta) * of_reference + of_policy) / 2


def _jensen_shannon_local(delta: Tensor) -> Tensor:
    return _log_of_mean_ratios(_rising(delta))[1] / 2


def _squared_hellinger(delta: Tensor) -> Tensor:
    return torch.expm1(-_rising(delta) / 2).square()


def _squared_hellinger_local(delta: Tensor) -> Tensor:
    return -torch.expm1(-_rising(delta) / 2)


def _pearson(delta: Tensor) -> Tensor:
    return torch.expm1(-_rising(delta, growth=2.0)).square()


def _pearson_local(delta: Tensor) -> Tensor:
    return -torch.expm1(-2 * _rising(delta, growth=2.0))


def _neyman(delta: Tensor) -> Tensor:
    return (2 * torch.sinh(_saturated(delta) / 2)).square()


def _neyman_local(delta: Tensor) -> Tensor:
    return 2 * torch.expm1(_saturated(delta))


def _total_variation(delta: Tensor) -> Tensor:
    return torch.expm1(-_rising(delta)).abs() / 2


def _total_variation_local(delta: Tensor) -> Tensor:
    return torch.sign(delta) / 2


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
    future=_k3,
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
    local=_k2_local,
    future=_k2,
    formula="½ log² u",
    aliases=("mse", "k2"),
    local_range=(-0.5, math.inf),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=1.0,
)
"""E_π[δ²]/2. Convex in u for δ > −1 only, hence no f-divergence there; Theorem 4.1 needs differentiability only."""

FORWARD_KL = Generator(
    name="forward KL",
    local=_one_minus_u,
    future=_u_log_u,
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
    local=_one_minus_u,
    future=_forward_k3,
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
    local=_jeffreys_local,
    future=_jeffreys,
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
    local=_jensen_shannon_local,
    future=_jensen_shannon,
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
    local=_squared_hellinger_local,
    future=_squared_hellinger,
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
    local=_pearson_local,
    future=_pearson,
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
    local=_neyman_local,
    future=_neyman,
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
    local=_total_variation_local,
    future=_total_variation,
    formula="½ |u − 1|",
    aliases=("total_variation", "tv"),
    local_range=(-0.5, 0.5),
    future_range=_FROM_ZERO,
    gradient_at_zero=0.0,
    curvature=math.inf,
)
"""½ Σ |π_θ − π_ref|; at most 1. At u = 1, where f has a kink, the subgradient 0 is taken: local(0) = 0."""


def alpha(order: float) -> Generator:
    """The α family (Cressie-Read, Amari): f(u) = (u^α − αu − (1 − α)) / (α(α − 1)), f(1) = f'(1) = 0, f''(1) = 1.

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
    held = _rising if order > 0 else _saturated

    def local(delta: Tensor) -> Tensor:
        return -torch.expm1(-order * held(delta, growth)) / order

    def future(delta: Tensor) -> Tensor:
        # Two ways to write one quotient, each free of cancellation at one of the two limits.
        if order < 0.5:
            delta = held(delta, growth)
            return (torch.expm1(-order * delta) / order - torch.expm1(-delta)) / (order - 1)
        delta = _saturated(delta, growth)
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
