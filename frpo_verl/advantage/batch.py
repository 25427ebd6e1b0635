"""Regularises a host's whole batch: advantages, and the sums that its log line is made of."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage import compiled
from frpo_verl.advantage.future import return_to_go_of_rows
from frpo_verl.advantage.later import undiscounted
from frpo_verl.advantage.sums import COLUMNS, Sums, measure
from frpo_verl.advantage.variant import Variant, divergence_to_go, is_plain
from frpo_verl.divergences import REVERSE_KL, Generator
from frpo_verl.divergences.generator import refuse_unfit
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import empty, row_blocks

PLAIN = Variant()
"""Theorem 4.1 (arXiv 2601.10201) as it is."""


class RegularisedBatch(NamedTuple):
    """A batch after FRPO.

    Attributes:
        advantages: (bs, length), Â − β·reg.
        sums: over the valid tokens of each response, for `diagnose`.
    """

    advantages: Tensor
    sums: Sums


def regularise_batch(
    outcome: Float[Tensor, " bs"] | Float[Tensor, "bs length"],
    log_prob: Float[Tensor, "bs length"],
    ref_log_prob: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    beta: float,
    generator: Generator = REVERSE_KL,
    variant: Variant = PLAIN,
    group: Int[Tensor, " bs"] | None = None,
    rollout: Int[Tensor, " bs"] | None = None,
) -> RegularisedBatch:
    """Subtracts the divergence from a batch's advantages, and sums up what a log line says of it.

        Â^FRPO_{i,t} = Â_{i,t} − β · reg_{i,t},   δ = log π_θ − log π_ref

    The same as `regularise` of `divergence_to_go`; δ is taken in float32 or better whatever the log-probs are. With one
    outcome per response and the plain variant, on the CPU and with numba, memory is gone through once; no other sweep
    over tensors of the batch's size is needed then, since `diagnose` makes its figures of the sums.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), eq. 5.1.

    Args:
        outcome: Â, one number per response; or, of other estimators, one per token.
        log_prob: log π_θ of every token, in nats.
        ref_log_prob: log π_ref of every token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        beta: the regularisation strength, in reward units (after normalisation) per nat.
        generator: the divergence, in its form (`formed`).
        variant: what is done to its sum.
        group: the group of each response, any integers; only `centring` looks at it.
        rollout: the rollout of each response, where one has several; likewise.

    Returns:
        Advantages and sums. Masked slots of the advantages are 0, or hold what a per-token `outcome` holds there.

    Raises:
        InvalidInput: shapes, dtypes, devices or β do not fit, or a valid token is not finite.
    """
    checks.coefficient(beta)
    checks.token_tensors(response_mask, log_prob=log_prob, ref_log_prob=ref_log_prob)
    dtype = torch.promote_types(torch.promote_types(log_prob.dtype, ref_log_prob.dtype), torch.float32)
    if outcome.dim() == 1:
        checks.row_tensor("outcome", outcome, response_mask)
    else:
        checks.finite_tokens(response_mask, outcome=outcome)
        dtype = torch.promote_types(dtype, outcome.dtype)
    refuse_unfit(generator)
    read = tuple(tensor.detach() for tensor in (outcome, log_prob, ref_log_prob, response_mask))
    fused = outcome.dim() == 1 and is_plain(variant) and compiled.can_take(log_prob)
    # Before the result is there: a variant needs memory for the whole batch.
    term = None if fused else _term(read, generator, variant, (group, rollout))
    advantages = empty(log_prob.shape, dtype, log_prob.device)
    sums = torch.zeros(len(outcome), COLUMNS, dtype=torch.float64, device=log_prob.device)
    if term is None:
        finite = compiled.scan(read, advantages, sums, float(beta), generator)
    else:
        finite = _as_defined(read, advantages, sums, float(beta), generator, term)
    if not finite:
        valid_advantages = zero_where_masked(advantages, response_mask.bool())
        checks.nothing_overflowed(valid_advantages, log_prob - ref_log_prob, response_mask, generator.name)
    return RegularisedBatch(advantages, Sums.of(sums))


def _log_ratio(log_prob: Tensor, reference: Tensor) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(log_prob.dtype, reference.dtype), torch.float32)
    return log_prob.to(dtype) - reference.to(dtype)


Term = Callable[[slice], Tensor]
"""Rows of the batch → their reg."""


def _term(
    read: tuple[Tensor, ...], generator: Generator, variant: Variant, groups: tuple[Tensor | None, Tensor | None]
) -> Term:
    _, log_prob, reference, mask = read
    if is_plain(variant):
        return lambda rows: return_to_go_of_rows(
            _log_ratio(log_prob[rows], reference[rows]), mask[rows], generator, undiscounted
        )
    whole = divergence_to_go(_log_ratio(log_prob, reference), mask, generator, variant, *groups)
    return lambda rows: whole[rows]


def _as_defined(
    read: tuple[Tensor, ...], advantages: Tensor, sums: Tensor, beta: float, generator: Generator, term: Term
) -> bool:
    """Does what `compiled.scan` does, in torch, and for every variant and outcome."""

    def of_rows(rows: slice) -> Tensor:
        outcome, log_prob, reference, mask = (tensor[rows] for tensor in read)
        valid, reg, after = mask.bool(), term(rows), advantages[rows]
        # Masked slots of a host's advantages keep what stands there: reg is 0 in them.
        before = zero_where_masked(outcome[:, None].expand(mask.shape), valid) if outcome.dim() == 1 else outcome
        after.copy_(torch.sub(before, reg, alpha=beta))
        divergence = generator.future(zero_where_masked(_log_ratio(log_prob, reference), valid))
        sums[rows] = measure(log_prob, divergence, reg, before, after, valid)
        # Finite if all are.
        return zero_where_masked(after, valid).sum()

    # Looked at together, since a look waits for the device.
    witness = sum((of_rows(rows) for rows in row_blocks(advantages)), start=sums.new_zeros(()))
    return bool(torch.isfinite(witness))
