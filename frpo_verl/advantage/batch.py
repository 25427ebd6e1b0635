"""Regularises a host's whole batch: advantages, and the sums that its log line is made of."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage import baseline, compiled
from frpo_verl.advantage.baseline import Fit, past_of_rows
from frpo_verl.advantage.future import return_to_go_of_rows
from frpo_verl.advantage.later import undiscounted
from frpo_verl.advantage.sums import COLUMNS, Sums, measure, sample_slots
from frpo_verl.advantage.variant import Variant, divergence_to_go, has_baseline, is_plain
from frpo_verl.advantage.weights import Weights
from frpo_verl.divergences import REVERSE_KL, Generator
from frpo_verl.divergences.generator import refuse_unfit
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import empty, row_blocks

PLAIN = Variant()
"""Theorem 4.1 (arXiv 2601.10201) as it is."""


class RegularisedBatch(NamedTuple):
    """A batch after FRPO.

    Attributes:
        advantages: (bs, length), Â − β·reg, or that less a baseline; with `kl=current`, where the workers subtract the
            term, Â less the baseline.
        sums: over the valid tokens of each response, for `diagnose`, without the baseline.
        baseline: what was fitted, or None.
        sampled_to_go: reg in the slots of `sample_slots`, where it cannot be read off the advantages; or None.
    """

    advantages: Tensor
    sums: Sums
    baseline: Fit | None = None
    sampled_to_go: Tensor | None = None


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
    earlier: Float[Tensor, "6 6"] | None = None,
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
        group: the group of each response, any integers; only `centring` and a baseline of the group look at it.
        rollout: the rollout of each response, where one has several; likewise.
        earlier: moments of earlier batches (`remembered`), for `baseline=fitted`; None where there is none.

    Returns:
        Advantages, sums and, with a baseline, what was fitted. Masked slots of the advantages are 0, or hold what a
        per-token `outcome` holds there.

    Raises:
        InvalidInput: shapes, dtypes, devices or β do not fit, or a valid token is not finite.
    """
    dtype = _checked(outcome, log_prob, ref_log_prob, response_mask, beta)
    if has_baseline(variant) and group is None:
        raise checks.InvalidInput(f"baseline={variant.baseline} looks at the groups, and group is None: pass it")
    refuse_unfit(generator)
    read = tuple(tensor.detach() for tensor in (outcome, log_prob, ref_log_prob, response_mask))
    fused = outcome.dim() == 1 and is_plain(variant) and compiled.can_take(log_prob)
    # Before the result is there: a variant needs memory for the whole batch.
    term = None if fused else _term(read, generator, variant, (group, rollout))
    advantages = empty(log_prob.shape, dtype, log_prob.device)
    sums = torch.zeros(len(outcome), COLUMNS, dtype=torch.float64, device=log_prob.device)
    kept = _kept(advantages, generator, variant)
    if term is None:
        finite = compiled.scan(read, advantages, sums, float(beta), generator, kept)
    else:
        finite = _as_defined(read, advantages, sums, float(beta), generator, term, kept)
    if not finite and kept[0] is not None:
        # For the sentence: reg is there in place of the advantages.
        without = dataclasses.replace(variant, baseline="none")
        return regularise_batch(outcome, *read[1:], beta, generator, without, group, rollout)
    if not finite:
        valid_advantages = zero_where_masked(advantages, response_mask.bool())
        checks.nothing_overflowed(valid_advantages, log_prob - ref_log_prob, response_mask, generator.name)
    done = RegularisedBatch(advantages, Sums.of(sums))
    if kept[0] is None:
        return done
    return _less_baseline(done, (read[0], kept[1], read[3]), float(beta), variant, (group, rollout), earlier)


def _checked(
    outcome: Tensor, log_prob: Tensor, ref_log_prob: Tensor, response_mask: Tensor, beta: float
) -> torch.dtype:
    """Refuses what no advantage can be computed from, and returns their dtype."""
    checks.coefficient(beta)
    checks.token_tensors(response_mask, log_prob=log_prob, ref_log_prob=ref_log_prob)
    dtype = torch.promote_types(torch.promote_types(log_prob.dtype, ref_log_prob.dtype), torch.float32)
    if outcome.dim() == 1:
        checks.row_tensor("outcome", outcome, response_mask)
    else:
        checks.finite_tokens(response_mask, outcome=outcome)
        dtype = torch.promote_types(dtype, outcome.dtype)
    return dtype


def _kept(advantages: Tensor, generator: Generator, variant: Variant) -> tuple[Tensor | None, Tensor | None]:
    """Returns where reg and the earlier future(δ) are to be written for a baseline, which is None without one.

    The past of a plain sum with one function for both parts, reverse KL's for instance, is the first reg less reg.
    """
    if not has_baseline(variant):
        return None, None
    derived = is_plain(variant) and generator.local is generator.future
    return advantages, None if derived else empty(advantages.shape, advantages.dtype, advantages.device)


def _less_baseline(
    done: RegularisedBatch,
    read: tuple[Tensor, Tensor | None, Tensor],
    beta: float,
    variant: Variant,
    groups: tuple[Tensor | None, Tensor | None],
    earlier: Tensor | None,
) -> RegularisedBatch:
    """Takes the baseline off a batch whose advantages hold reg so far."""
    outcome, past, mask = read
    to_go, (group, rollout) = done.advantages, groups
    sampled = to_go.reshape(-1)[sample_slots(*to_go.shape).to(to_go.device)]
    tokens, whole = done.sums.tokens.long(), done.sums.divergence
    of = Weights(outcome, to_go, past, whole.contiguous(), tokens, mask)
    coefficients = baseline.fitted_elsewhere(baseline.no_moments() if earlier is None else earlier)
    if variant.baseline == "loo_position":
        coefficients = baseline.at_position(beta)
    subtracted = 0.0 if variant.kl == "current" else beta
    fit = baseline.less_baseline(of, beta, subtracted, group, rollout, coefficients)
    return done._replace(baseline=fit, sampled_to_go=sampled)


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
    read: tuple[Tensor, ...],
    advantages: Tensor,
    sums: Tensor,
    beta: float,
    generator: Generator,
    term: Term,
    kept: tuple[Tensor | None, Tensor | None],
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
        witness = zero_where_masked(after, valid).sum()
        if kept[0] is not None:
            kept[0][rows] = reg.to(after.dtype)
        if kept[1] is not None:
            kept[1][rows] = past_of_rows(divergence).to(after.dtype)
        return witness

    # Looked at together, since a look waits for the device.
    witness = sum((of_rows(rows) for rows in row_blocks(advantages)), start=sums.new_zeros(()))
    return bool(torch.isfinite(witness))
