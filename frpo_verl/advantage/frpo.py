"""Composes FRPO: GRPO's advantage from the reward alone, then the future divergence."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.future import return_to_go_of_rows
from frpo_verl.advantage.groups import normalise_by_group
from frpo_verl.advantage.later import Later, refuse_no_sum, undiscounted
from frpo_verl.divergences import REVERSE_KL, Generator
from frpo_verl.divergences.generator import refuse_unfit
from frpo_verl.rows import over_rows

Outcome = Callable[[Tensor, Tensor], Tensor]
"""(scores, group) → the outcome advantage of each response."""


def regularise(
    outcome: Float[Tensor, " bs"],
    divergence_to_go: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    beta: float,
) -> Float[Tensor, "bs length"]:
    """Spreads the outcome over the tokens of a response and subtracts the divergence: Â_i − β·reg_{i,t}.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), eq. 5.1.

    Args:
        outcome: Â, one number per response.
        divergence_to_go: reg per token, in nats, as it comes from `return_to_go` and whatever was done to it since.
        response_mask: nonzero for the tokens that the policy produced.
        beta: the regularisation strength, in reward units (after normalisation) per nat.

    Returns:
        The advantage per token; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes, devices or β do not fit, or an outcome or a valid token is not finite.
    """
    checks.coefficient(beta)
    checks.finite_tokens(response_mask, divergence_to_go=divergence_to_go)
    checks.row_tensor("outcome", outcome, response_mask)
    return regularise_rows(outcome.to(divergence_to_go.dtype), divergence_to_go, response_mask.bool(), float(beta))


def regularise_rows(
    outcome: Float[Tensor, " rows"],
    divergence_to_go: Float[Tensor, "rows length"],
    mask: Bool[Tensor, "rows length"],
    beta: float,
) -> Float[Tensor, "rows length"]:
    """Does what `regularise` does, for some rows and unchecked.

    Args:
        outcome: Â, one number per response.
        divergence_to_go: reg per token.
        mask: True for the tokens that the policy produced.
        beta: β.

    Returns:
        The advantage per token; 0 in masked slots.
    """
    return torch.sub(outcome[:, None], divergence_to_go, alpha=beta).masked_fill_(~mask, 0)


def frpo_advantage(
    scores: Float[Tensor, " bs"],
    group: Int[Tensor, " bs"],
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    beta: float,
    generator: Generator = REVERSE_KL,
    later: Later = undiscounted,
    outcome: Outcome = normalise_by_group,
) -> Float[Tensor, "bs length"]:
    """Computes the FRPO advantage of every token.

        Â^FRPO_{i,t} = sg( Â^GRPO_i − β · reg_{i,t} )

    The correction goes in AFTER the group normalisation: the utility ℓ behind GRPO multiplies the reward term of the
    gradient only, so a divergence that goes through the normaliser aims at another objective (Proposition 3.2).

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), eq. 5.1 and Algorithm 1.

    Args:
        scores: one reward per response.
        group: the group (prompt) of each response, any integers.
        log_ratio: δ = log π_θ − log π_ref per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        beta: the regularisation strength, in reward units (after normalisation) per nat.
        generator: the divergence.
        later: which later tokens count, and how much; all of them in the theorem.
        outcome: how rewards become Â; verl's grpo by default.

    Returns:
        The advantage per token, float32 or better; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes, devices or β do not fit, or a valid token or a score is not finite.
    """
    checks.coefficient(beta)
    checks.token_tensors(response_mask, log_ratio=log_ratio)
    checks.scores_and_groups(scores, group)
    checks.row_tensor("scores", scores, response_mask)
    refuse_unfit(generator)
    refuse_no_sum(later)
    log_ratio, of_response = log_ratio.detach(), outcome(scores.detach(), group).detach()
    checks.row_tensor("outcome", of_response, response_mask)

    def of_rows(log_ratio: Tensor, response_mask: Tensor, of_response: Tensor) -> Tensor:
        divergence_to_go = return_to_go_of_rows(log_ratio, response_mask, generator, later)
        return regularise_rows(
            of_response.to(divergence_to_go.dtype), divergence_to_go, response_mask.bool(), float(beta)
        )

    result = over_rows(of_rows, log_ratio, response_mask, of_response)
    if not torch.isfinite(result.sum()):
        checks.nothing_overflowed(result, log_ratio, response_mask, generator.name)
    return result
