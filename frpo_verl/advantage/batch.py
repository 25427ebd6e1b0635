"""A host's whole batch in one go: advantages, returns, and what is logged of them."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage import compiled
from frpo_verl.advantage.frpo import regularise_rows
from frpo_verl.advantage.future import return_to_go_of_rows
from frpo_verl.advantage.later import undiscounted
from frpo_verl.divergences import REVERSE_KL, Generator
from frpo_verl.divergences.generator import refuse_unfit
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import empty, row_blocks


class RegularisedBatch(NamedTuple):
    """A batch after FRPO.

    Attributes:
        advantages: (bs, length), Â_i − β·reg_{i,t}; 0 in masked slots.
        outcomes: (bs, length), Â_i without the divergence; 0 in masked slots.
        sums: (bs, 3), float64: of each response Σ_t f(u_t), Σ_t reg_t and Σ_t reg_t², over its valid tokens.
    """

    advantages: Tensor
    outcomes: Tensor
    sums: Tensor


def regularise_batch(
    outcome: Float[Tensor, " bs"],
    log_prob: Float[Tensor, "bs length"],
    ref_log_prob: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    beta: float,
    generator: Generator = REVERSE_KL,
) -> RegularisedBatch:
    """FRPO's advantages from log-probs, with the sums that a log line needs: memory is gone through once.

        Â^FRPO_{i,t} = Â_i − β · reg_{i,t},   δ = log π_θ − log π_ref

    The same as `regularise` of `return_to_go`; δ is taken in float32 or better whatever the log-probs are.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), eq. 5.1.

    Args:
        outcome: Â, one number per response.
        log_prob: log π_θ of every token, in nats, dense.
        ref_log_prob: log π_ref of every token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        beta: the regularisation strength, in reward units (after normalisation) per nat.
        generator: the divergence.

    Returns:
        Advantages, outcomes and sums.

    Raises:
        InvalidInput: shapes, dtypes, devices or β do not fit, or the log-ratio of a valid token is not finite.
    """
    checks.coefficient(beta)
    checks.token_tensors(response_mask, log_prob=log_prob, ref_log_prob=ref_log_prob)
    checks.padded(response_mask)
    checks.row_tensor("outcome", outcome, response_mask)
    refuse_unfit(generator)
    outcome, log_prob, ref_log_prob = outcome.detach(), log_prob.detach(), ref_log_prob.detach()
    dtype = torch.promote_types(torch.promote_types(log_prob.dtype, ref_log_prob.dtype), torch.float32)
    made = RegularisedBatch(
        advantages=empty(log_prob.shape, dtype, log_prob.device),
        outcomes=empty(log_prob.shape, dtype, log_prob.device),
        sums=torch.zeros(len(outcome), 3, dtype=torch.float64, device=log_prob.device),
    )
    if compiled.can_take(log_prob):
        flat = made.advantages.view(-1), made.outcomes.view(-1), made.sums
        operands = compiled.Operands(log_prob, ref_log_prob, response_mask, *flat, outcome)
        compiled.scan(operands, float(beta), generator)
        return made
    for rows in row_blocks(log_prob):
        mask = response_mask[rows].bool()
        delta = log_prob[rows].to(dtype) - ref_log_prob[rows].to(dtype)
        to_go = return_to_go_of_rows(delta, mask, generator, undiscounted)
        of_response = outcome[rows].to(dtype)
        made.advantages[rows] = regularise_rows(of_response, to_go, mask, float(beta))
        made.outcomes[rows] = zero_where_masked(of_response[:, None].expand(mask.shape), mask)
        divergence = generator.future(zero_where_masked(delta, mask)).double()
        made.sums[rows] = torch.stack(
            [part.sum(-1) for part in (divergence, to_go.double(), to_go.double().square())], -1
        )
    if not torch.isfinite(made.advantages.sum()):
        checks.tokens_are_finite(log_prob - ref_log_prob, response_mask, "log_ratio")
        checks.nothing_overflowed(made.advantages, generator.name)
    return made
