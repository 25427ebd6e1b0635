"""Computes the return-to-go of a divergence: what a token costs from its place to the end of the response."""

from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.later import Later, refuse_no_sum, undiscounted
from frpo_verl.divergences import Generator
from frpo_verl.divergences.generator import refuse_unfit
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import over_rows


def return_to_go(
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    generator: Generator,
    later: Later = undiscounted,
) -> Float[Tensor, "bs length"]:
    """Computes the weight of each token in the gradient of E_{a~π_θ} Σ_j f(u_j).

        reg_t = local(δ_t) + Σ_{j>t} m_j future(δ_j)

    For reverse KL, local(δ) = future(δ) = δ and reg_t = Σ_{j≥t} m_j δ_j, the masked reverse cumulative sum. Masked
    slots (padding, tool and observation tokens) contribute 0, the sum continues across them, and they get 0 themselves.
    The sum is taken in float64 on every device: over thousands of tokens half precision would lose it.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), Theorem 4.1 and eq. 4.5.

    Args:
        log_ratio: δ = log π_θ − log π_ref per token, in nats; masked slots may hold anything, NaN included.
        response_mask: nonzero for the tokens that the policy produced.
        generator: the divergence.
        later: which later tokens count, and how much; all of them in the theorem.

    Returns:
        reg per token, detached, float32 or better; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.token_tensors(response_mask, log_ratio=log_ratio)
    refuse_unfit(generator)
    refuse_no_sum(later)
    log_ratio = log_ratio.detach()
    of_rows = partial(return_to_go_of_rows, generator=generator, later=later)
    result = over_rows(of_rows, log_ratio, response_mask)
    if not torch.isfinite(result.sum()):
        checks.nothing_overflowed(result, log_ratio, response_mask, generator.name)
    return result


def return_to_go_of_rows(
    log_ratio: Float[Tensor, "rows length"],
    response_mask: Shaped[Tensor, "rows length"],
    generator: Generator,
    later: Later,
) -> Float[Tensor, "rows length"]:
    """Computes `return_to_go` for some rows, unchecked: NaN where a valid δ is not finite.

    Args:
        log_ratio: δ per token.
        response_mask: nonzero for the tokens that the policy produced.
        generator: the divergence.
        later: which later tokens count, and how much.

    Returns:
        reg per token, not yet rounded: as `later` returns it, or in δ's dtype if that is better; 0 in masked slots.
    """
    mask = response_mask.bool()
    delta = zero_where_masked(log_ratio.to(torch.promote_types(log_ratio.dtype, torch.float32)), mask)
    of_later = later(generator.future(delta), mask)
    divergence_to_go = generator.local(delta) + of_later
    # δ − δ is 0, and NaN where δ is not finite: a bounded generator would hide that.
    return divergence_to_go.add_(delta.sub_(delta)).masked_fill_(~mask, 0)
