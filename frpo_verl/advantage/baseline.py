"""Subtracts a baseline from the whole weight of a token: fitted to other groups, or the others' mean at its place.

    w_{i,t} = Â_i − β·reg_{i,t},   result = w − z·θ_g                      z: five columns, θ: their coefficients

A token's columns come from the tokens before it and the group's other rollouts, and θ_g from other groups and
from earlier batches. Both are constants to the token, so that the expected gradient stays what it was.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage import compiled, compiled_baseline, weights
from frpo_verl.advantage.future import return_to_go
from frpo_verl.advantage.weights import COLUMNS, SIZE, Members, Weights
from frpo_verl.divergences import REVERSE_KL, Generator
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import over_rows, row_blocks

OTHERS_TO_GO = 2

RIDGE = 0.3
"""On the scale of correlations, so that the units of a column do not matter."""

FLOOR = 1e-6
"""Of a column's root mean square, in nats for most: a smaller one is rounding, which is not to be fitted to."""

DECAY = 0.9
"""Of earlier batches, for each batch."""

Coefficients = Callable[[Tensor], Tensor]
"""(groups, 6, 6), the moments of a batch → θ of each group, (groups, 5)."""


class Fit(NamedTuple):
    """A baseline that was subtracted.

    Attributes:
        moments: (6, 6), float64, Σ [z; w][z; w]ᵀ over the tokens of the batch.
        coefficients: (5,), float64, θ, the mean of the groups'.
        r2: 1 − Σ(w − z·θ)² / Σw², out of fold: what is taken off the weights' second moment; 0 without weights.
    """

    moments: Tensor
    coefficients: Tensor
    r2: float


def no_moments() -> Float[Tensor, "6 6"]:
    """Makes the memory of no batch.

    Returns:
        Zeros.
    """
    return torch.zeros(SIZE, SIZE, dtype=torch.float64, device="cpu")


def remembered(earlier: Float[Tensor, "6 6"], moments: Float[Tensor, "6 6"]) -> Float[Tensor, "6 6"]:
    """Adds a batch that was used to the memory of those before it: 0.9 · (earlier + moments).

    Args:
        earlier: the memory that the batch was fitted with.
        moments: of the batch, from `Fit`.

    Returns:
        The memory for the next batch; `earlier` itself where the moments overflowed.
    """
    later = DECAY * (earlier + moments.to(earlier.device))
    return later if torch.isfinite(later).all() else earlier


def fitted_elsewhere(earlier: Float[Tensor, "6 6"]) -> Coefficients:
    """Makes θ of each group by ridge regression of w on z over the tokens of the OTHER groups and of earlier batches.

        N = Σ_{h≠g} Σ z zᵀ + earlier,  S = diag(N)^½, floored,
        θ_g = S⁻¹ (S⁻¹ N S⁻¹ + 0.3·I)⁻¹ S⁻¹ (Σ_{h≠g} Σ z w + earlier)

    Cross-fitting: the own group in its fit would bias the gradient. 0 where there is nothing to fit on.

    Args:
        earlier: moments of earlier batches, `no_moments()` at first.

    Returns:
        A function of a batch's moments.
    """

    def of_groups(moments: Tensor) -> Tensor:
        # Sums of the groups before and after: the own one is not there to the bit, as it would be in a difference.
        edge = torch.zeros_like(moments[:1])
        before = torch.cat([edge, moments[:-1]]).cumsum(0)
        after = torch.cat([moments[1:], edge[: len(moments)]]).flip(0).cumsum(0).flip(0)
        others = before[: len(moments)] + after + earlier.to(moments.device)
        normal, right = others[:, :-1, :-1], others[:, :-1, -1]
        squares = normal.diagonal(dim1=-2, dim2=-1)
        scale = torch.maximum(squares, FLOOR**2 * squares[:, :1]).sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        ridge = RIDGE * torch.eye(len(COLUMNS), dtype=normal.dtype, device=normal.device)
        correlations = normal / (scale[:, :, None] * scale[:, None, :]) + ridge
        found = torch.linalg.solve_ex(correlations, right / scale).result / scale
        return torch.where(found.isfinite().all(-1, keepdim=True), found, torch.zeros_like(found))

    return of_groups


def at_position(beta: float) -> Coefficients:
    """Makes θ = (0, 0, −β, 0, 0) for every group: reg loses the mean over the others of reg at the same place.

    Args:
        beta: β.

    Returns:
        A function of a batch's moments.
    """

    def of_groups(moments: Tensor) -> Tensor:
        theta = moments.new_zeros(len(moments), len(COLUMNS))
        theta[:, OTHERS_TO_GO] = -beta
        return theta

    return of_groups


def subtract_baseline(
    outcome: Float[Tensor, " bs"] | Float[Tensor, "bs length"],
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    beta: float,
    group: Int[Tensor, " bs"],
    coefficients: Coefficients,
    generator: Generator = REVERSE_KL,
    rollout: Int[Tensor, " bs"] | None = None,
) -> tuple[Float[Tensor, "bs length"], Fit]:
    """Computes FRPO's advantages less a baseline of the whole weight.

        w = Â − β·reg,   result = w − z·θ_g
        z = (1, t, mean of the others' reg at t, mean of the others' Σ_j f, own Σ_{j<t} f)

    t counts valid tokens, so that tool output does not misalign it. The others are the responses of the group that run
    at t and are not outputs of the same rollout; columns without others are 0. The expected gradient is that of w.

    Args:
        outcome: Â, one number per response; or, of other estimators, one per token.
        log_ratio: δ = log π_θ − log π_ref per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        beta: the regularisation strength, in reward units (after normalisation) per nat.
        group: the group of each response, any integers.
        coefficients: `fitted_elsewhere(earlier)` or `at_position(beta)`.
        generator: the divergence.
        rollout: the rollout of each response, any integers, each in one group; None where each row is one.

    Returns:
        Advantages, float32 or better, 0 in masked slots or what a per-token `outcome` holds there; and what was fitted.

    Raises:
        InvalidInput: shapes, dtypes, devices or β do not fit, or a valid token is not finite.
    """
    checks.coefficient(beta)
    to_go, mask = return_to_go(log_ratio, response_mask, generator), response_mask.bool()
    if outcome.dim() == 1:
        checks.row_tensor("outcome", outcome, response_mask)
    else:
        checks.finite_tokens(response_mask, outcome=outcome)
    for name, rows in (("group", group), ("rollout", group if rollout is None else rollout)):
        checks.integers(name, rows)
        checks.row_tensor(name, rows, response_mask)
    delta = zero_where_masked(log_ratio.detach().to(to_go.dtype), mask)
    divergence = over_rows(generator.future, delta)
    whole = divergence.sum(-1, dtype=torch.float64)
    of = Weights(outcome.detach(), to_go, over_rows(past_of_rows, divergence), whole, mask.sum(-1), mask)
    return to_go, less_baseline(of, float(beta), float(beta), group, rollout, coefficients)


def past_of_rows(divergence: Float[Tensor, "rows length"]) -> Float[Tensor, "rows length"]:
    """Computes what came before each token: Σ_{j<t} of values that are 0 in masked slots.

    Args:
        divergence: m_j future(δ_j).

    Returns:
        The sums, float64.
    """
    past = torch.zeros_like(divergence, dtype=torch.float64)
    past[:, 1:] = divergence[:, :-1]
    return past.cumsum_(-1)


def less_baseline(
    of: Weights,
    beta: float,
    subtracted: float,
    group: Int[Tensor, " bs"],
    rollout: Int[Tensor, " bs"] | None,
    coefficients: Coefficients,
) -> Fit:
    """Does what `subtract_baseline` does, unchecked: writes the advantages in the place of reg.

    Args:
        of: what the weights are made of; its reg is overwritten.
        beta: β of the weights to which the baseline is fitted.
        subtracted: β of the term that is subtracted; 0 where the workers are to do it.
        group: the group of each response.
        rollout: the rollout of each response, or None.
        coefficients: θ of a batch's moments.

    Returns:
        What was fitted.
    """
    who = Members.of(group, rollout, of.tokens)
    visit = compiled_baseline.visits(of, who) if compiled.can_take(of.to_go) else partial(weights.visit, of, who)
    moments = torch.zeros(who.groups, SIZE, SIZE, dtype=torch.float64, device=of.to_go.device)
    visit(beta, moments, moments[:0, 0, 1:])
    found = moments.cpu()
    theta = coefficients(found)
    visit(subtracted, moments[:0], theta.to(moments.device))
    if of.outcome.dim() == 2:
        for rows in row_blocks(of.to_go):
            of.to_go[rows] = torch.where(of.mask[rows].bool(), of.to_go[rows], of.outcome[rows])
    mean = theta.sum(0) / max(1, len(theta))
    return Fit(found.sum(0), mean, _r2(found, theta))


def _r2(moments: Tensor, theta: Tensor) -> float:
    normal, right, square = moments[:, :-1, :-1], moments[:, :-1, -1], moments[:, -1, -1].sum()
    fitted = 2 * (theta * right).sum() - torch.einsum("gi,gij,gj->", theta, normal, theta)
    share = (fitted / square).item() if square > 0 else 0.0
    return share if math.isfinite(share) else 0.0
