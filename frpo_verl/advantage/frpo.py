"""FRPO: GRPO's advantage from the reward alone, then the future divergence."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from frpo_verl.advantage.future import return_to_go
from frpo_verl.advantage.groups import normalise_by_group
from frpo_verl.divergences import REVERSE_KL, Generator
from frpo_verl.masking import zero_where_masked


def frpo_advantage(
    scores: Float[Tensor, " bs"],
    group: Int[Tensor, " bs"],
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Bool[Tensor, "bs length"],
    beta: float,
    generator: Generator = REVERSE_KL,
) -> Float[Tensor, "bs length"]:
    """The FRPO advantage of every token.

        Â^FRPO_{i,t} = sg( Â^GRPO_i − β · reg_{i,t} )

    The correction goes in AFTER the group normalisation: the utility ℓ behind GRPO multiplies the reward term of the
    gradient only, so a divergence that goes through the normaliser aims at another objective (Proposition 3.2).

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), eq. 5.1 and Algorithm 1.

    Args:
        scores: one reward per response.
        group: the group (prompt) of each response, any integers.
        log_ratio: δ = log π_θ − log π_ref per token, in nats.
        response_mask: True for the tokens that the policy produced.
        beta: the regularisation strength, in reward units (after normalisation) per nat.
        generator: the divergence.

    Returns:
        The advantage per token; 0 in masked slots.
    """
    outcome = normalise_by_group(scores, group)[:, None].expand(response_mask.shape)
    return zero_where_masked(outcome - beta * return_to_go(log_ratio, response_mask, generator), response_mask)
