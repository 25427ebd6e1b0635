"""Sums over the valid tokens that come strictly later in the same response.

Distances are counted in valid tokens, so a masked slot counts as if it were absent.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from frpo_verl.checks import InvalidInput

Later = Callable[[Tensor, Tensor], Tensor]
"""(values, mask) → for every slot the (weighted) sum of the later values; values are 0 in masked slots."""


def refuse_no_sum(later: Later) -> None:
    """Refuses a `later` that cannot be called."""
    if not callable(later):
        raise InvalidInput(f"later is {later!r}: pass a function, for instance discounted(0.9) or within(100)")


def undiscounted(
    values: Float[Tensor, "bs length"],
    mask: Bool[Tensor, "bs length"],
) -> Float[Tensor, "bs length"]:
    """Sums all later values: L_t = Σ_{j>t} v_j, as in Theorem 4.1 (arXiv 2601.10201).

    Every sum is of later values only: a total minus a prefix would drown a small remainder in a large past. It is taken
    in float64, which not every device does of itself.

    Args:
        values: one number per token, 0 in masked slots.
        mask: True for the tokens that count.

    Returns:
        L per slot, float64.
    """
    from_the_end = torch.zeros_like(values, dtype=torch.float64)
    from_the_end[:, 1:] = values[:, 1:].flip(-1)
    return from_the_end.cumsum_(-1).flip(-1)


def discounted(discount: float) -> Later:
    """Makes a discounted sum: L_t = Σ_{j>t} γ^{n(t,j)} v_j, n(t, j) the number of valid tokens from t to j, j included.

    Not the gradient of eq. 4.1 unless γ = 1. As the critic-free returns of OpenRLHF (0.11.0,
    `get_cumulative_returns`) and ROLL (0.3.0, `compute_reinforce_return`) discount; FIPO (arXiv 2603.19835) uses
    γ = 2^(−1/τ) on a KL to the old policy.

    Args:
        discount: γ in [0, 1].

    Returns:
        A function like `undiscounted`.

    Raises:
        ValueError: γ is outside [0, 1].
    """
    if not 0 <= discount <= 1:
        raise ValueError(f"discount {discount:g}: it must lie between 0 and 1, and 1 is the true gradient")
    return lambda values, mask: _window(values, mask, math.inf, discount)


def within(horizon: int) -> Later:
    """Makes a sum with a horizon: L_t sums the next H valid tokens after t.

    Not the gradient of eq. 4.1 unless H reaches the end. H = 0 leaves the immediate token alone, as NeMo-RL's
    REINFORCE++ and slime's `reinforce_plus_plus_baseline` do, and ROLL's pure distillation (γ = 0).

    Args:
        horizon: H, in tokens.

    Returns:
        A function like `undiscounted`.

    Raises:
        ValueError: H is negative or not an integer.
    """
    if not isinstance(horizon, int) or horizon < 0:
        raise ValueError(f"horizon {horizon!r}: it must be a number of tokens, 0 or more")
    return lambda values, mask: _window(values, mask, horizon, 1.0)


def _window(values: Tensor, mask: Tensor, horizon: float, discount: float) -> Tensor:
    """Returns Σ_{k=1}^{H} γ^k v_{t+k} over valid tokens, by doubling: windows of 1, 2, 4, … tokens make up any H.

    Adding only, so nothing cancels, and γ^k is never divided by.
    """
    dense = torch.zeros_like(values)
    kept = torch.arange(values.shape[1], device=values.device) < mask.sum(-1, keepdim=True)
    dense[kept] = values[mask]
    steps = min(horizon, values.shape[1])
    # `window` holds Σ_{0≤k<width} γ^k v_{t+k}; `total` the sum of the first `covered` later tokens.
    window, width = dense, 1
    total, covered = torch.zeros_like(values), 0
    while steps and discount:
        if steps & width:
            total = total + discount ** (covered + 1) * _shifted(window, covered + 1)
            covered += width
            steps -= width
        window = window + discount**width * _shifted(window, width)
        width *= 2
    result = torch.zeros_like(values)
    result[mask] = total[kept]
    return result


def _shifted(values: Tensor, by: int) -> Tensor:
    shifted = torch.zeros_like(values)
    if by < values.shape[1]:
        shifted[:, :-by] = values[:, by:]
    return shifted
