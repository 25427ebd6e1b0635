"""Computes the return-to-go from samples of an older policy: what lies ahead, weighted by how likely it still is."""

from functools import partial

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.future import return_to_go_of_rows
from frpo_verl.advantage.later import undiscounted
from frpo_verl.divergences import Generator
from frpo_verl.divergences.generator import refuse_unfit
from frpo_verl.rows import over_rows


def traced_return_to_go(
    log_ratio: Float[Tensor, "bs length"],
    log_importance: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    generator: Generator,
    truncation: float = 1.0,
) -> Float[Tensor, "bs length"]:
    """Computes the return-to-go of π from responses that μ sampled, with V-trace's truncated weights on what is later.

        reg_t = local(δ_t) + Σ_{j>t} m_j ( Π_{t<i≤j} c_i ) future(δ_j),   c_i = min(c̄, ρ_i) if m_i, else 1

    ρ_i = π(a_i|s_i) / μ(a_i|s_i) and δ = log π − log π_ref. The token's own ρ_t is not in it: the policy loss
    multiplies by that. Where every ρ is 1 this is `return_to_go`, to the bit. c̄ = 0 leaves the token's own part, c̄ = ∞
    the whole products, with which Σ_t ( Π_{i<t} ρ_i ) ρ_t reg_t ∇log π(a_t|s_t) would be the exact gradient at π.

    See "IMPALA" (https://arxiv.org/abs/1802.01561), section 4.1, whose c̄ is 1 as here.

    Args:
        log_ratio: δ of π, the policy that is updated, per token, in nats; masked slots may hold anything.
        log_importance: log ρ per token, in nats; masked slots may hold anything.
        response_mask: nonzero for the tokens that the policy produced.
        generator: the divergence.
        truncation: c̄.

    Returns:
        reg per token, detached, float32 or better; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.token_tensors(response_mask, log_ratio=log_ratio)
    checks.finite_tokens(response_mask, log_importance=log_importance)
    refuse_unfit(generator)
    log_ratio = log_ratio.detach()
    of_rows = partial(_of_rows, generator=generator, truncation=truncation)
    result = over_rows(of_rows, log_ratio, log_importance.detach(), response_mask)
    if not torch.isfinite(result.sum()):
        checks.nothing_overflowed(result, log_ratio, response_mask, generator.name)
    return result


def _of_rows(
    log_ratio: Tensor, log_importance: Tensor, response_mask: Tensor, generator: Generator, truncation: float
) -> Tensor:
    mask = response_mask.bool()
    weight = torch.where(mask, log_importance.double().exp().clamp(max=truncation), 1.0)
    return return_to_go_of_rows(log_ratio, mask, generator, partial(_traced, weight=weight))


def _traced(
    values: Float[Tensor, "rows length"], mask: Bool[Tensor, "rows length"], weight: Float[Tensor, "rows length"]
) -> Float[Tensor, "rows length"]:
    """Returns Σ_{j>t} ( Π_{t<i≤j} c_i ) v_j, by doubling: from sums over 1, 2, 4, … slots. Nothing is divided by."""
    total, product, width = weight * values, weight, 1
    # `total` holds Σ_{t≤j<t+width} ( Π_{t≤i≤j} c_i ) v_j, `product` the product of these c.
    while width < values.shape[1]:
        total[:, :-width] += product[:, :-width] * total[:, width:]
        product = torch.cat([product[:, :-width] * product[:, width:], product[:, -width:]], -1)
        width *= 2
    later = torch.zeros_like(total)
    later[:, :-1] = total[:, 1:]
    # Where nothing is weighted the order of the additions shall be that of `undiscounted`, too.
    return torch.where((weight == 1).all(-1, keepdim=True), undiscounted(values, mask), later)
