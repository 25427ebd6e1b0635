"""Local and future parts of the divergences as functions of δ = log π_θ − log π_ref, with numerical care.

They lose no more than a few units in the last place of δ (`expm1` instead of `exp − 1`) and are finite for every finite
δ: an exponent beyond ±80 saturates there, since exp(88.8) overflows float32. Half precision is computed in float32.
"""

import torch
from torch import Tensor

LARGEST_EXPONENT = 80.0
"""exp(80) ≈ 6e34: times 80 and summed over a few tokens it is still a float32."""


def held(delta: Tensor, lowest: float, highest: float | None = None) -> Tensor:
    """Returns δ in float32 or better, within bounds."""
    return delta.to(torch.promote_types(delta.dtype, torch.float32)).clamp(lowest, highest)


def saturated(delta: Tensor, growth: float = 1.0) -> Tensor:
    """Holds δ where exp(±growth·δ) is a float32."""
    return held(delta, -LARGEST_EXPONENT / growth, LARGEST_EXPONENT / growth)


def rising(delta: Tensor, growth: float = 1.0) -> Tensor:
    """Holds δ on the side δ < 0 only: for functions that are linear or flat where the policy gained."""
    return held(delta, -LARGEST_EXPONENT / growth)


def k3(delta: Tensor) -> Tensor:
    """f = −log u + u − 1."""
    delta = rising(delta)
    return torch.expm1(-delta) + delta


def k2(delta: Tensor) -> Tensor:
    """f = ½ log² u."""
    return held(delta, -1e18, 1e18).square() / 2


def k2_local(delta: Tensor) -> Tensor:
    """½ log² u − log u."""
    delta = held(delta, -1e18, 1e18)
    return delta.square() / 2 + delta


def one_minus_u(delta: Tensor) -> Tensor:
    """1 − u, the local part of forward KL."""
    return -torch.expm1(-rising(delta))


def u_log_u(delta: Tensor) -> Tensor:
    """f = u log u."""
    delta = rising(delta)
    return -delta * torch.exp(-delta)


def forward_k3(delta: Tensor) -> Tensor:
    """f = u log u − u + 1."""
    delta = rising(delta)
    return -torch.expm1(-delta) - delta * torch.exp(-delta)


def jeffreys(delta: Tensor) -> Tensor:
    """f = (u − 1) log u."""
    delta = rising(delta)
    return -delta * torch.expm1(-delta)


def jeffreys_local(delta: Tensor) -> Tensor:
    """1 − u − log u."""
    delta = rising(delta)
    return delta - torch.expm1(-delta)


def log_of_mean_ratios(delta: Tensor) -> tuple[Tensor, Tensor]:
    """log(2u/(1 + u)) and log(2/(1 + u)), without the cancellation of log 2 − softplus near δ = 0."""
    larger = torch.log1p(torch.tanh(delta.abs() / 2))
    return larger - delta.relu(), larger - (-delta).relu()


def jensen_shannon(delta: Tensor) -> Tensor:
    """f = ½ [u log u − (1 + u) log((1 + u)/2)]."""
    delta = rising(delta)
    of_reference, of_policy = log_of_mean_ratios(delta)
    return (torch.exp(-delta) * of_reference + of_policy) / 2


def jensen_shannon_local(delta: Tensor) -> Tensor:
    """−½ log((1 + u)/2)."""
    return log_of_mean_ratios(rising(delta))[1] / 2


def squared_hellinger(delta: Tensor) -> Tensor:
    """f = (√u − 1)²."""
    return torch.expm1(-rising(delta) / 2).square()


def squared_hellinger_local(delta: Tensor) -> Tensor:
    """1 − √u."""
    return -torch.expm1(-rising(delta) / 2)


def pearson(delta: Tensor) -> Tensor:
    """f = (u − 1)²."""
    return torch.expm1(-rising(delta, growth=2.0)).square()


def pearson_local(delta: Tensor) -> Tensor:
    """1 − u²."""
    return -torch.expm1(-2 * rising(delta, growth=2.0))


def neyman(delta: Tensor) -> Tensor:
    """f = (u − 1)²/u = 4 sinh²(δ/2)."""
    return (2 * torch.sinh(saturated(delta) / 2)).square()


def neyman_local(delta: Tensor) -> Tensor:
    """2/u − 2."""
    return 2 * torch.expm1(saturated(delta))


def total_variation(delta: Tensor) -> Tensor:
    """f = ½ |u − 1|."""
    return torch.expm1(-rising(delta)).abs() / 2


def total_variation_local(delta: Tensor) -> Tensor:
    """½ sign(1 − u), and the subgradient 0 at u = 1."""
    return torch.sign(delta) / 2
