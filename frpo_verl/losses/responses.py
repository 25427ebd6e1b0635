"""Sums log-probs over the tokens of a response, in float64: float32 at 8,192 nats goes in steps of 0.001."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.losses.unfit import refuse_lengths, refuse_rows
from frpo_verl.masking import zero_where_masked


def response_log_prob(
    log_prob: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
) -> Float[Tensor, " bs"]:
    """Computes the log-prob of each response: log p(y) = Σ_t m_t·log p(y_t).

    Args:
        log_prob: log p of every token, under any policy; masked slots may hold anything.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        One number per response, float64; differentiable.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, log_prob=log_prob)
    return zero_where_masked(log_prob, response_mask.bool()).sum(-1, dtype=torch.float64)


def response_lengths(response_mask: Shaped[Tensor, "bs length"]) -> Int[Tensor, " bs"]:
    """Counts |y|, the valid tokens of each response, and 1 for a response that has none.

    Args:
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The counts.
    """
    return response_mask.bool().sum(-1).clamp(min=1)


def inverse_perplexity(log_prob: Float[Tensor, " bs"], lengths: Int[Tensor, " bs"]) -> Float[Tensor, " bs"]:
    """Computes p(y)^{1/|y|} = exp(log p(y) / |y|), in log space, so that a long response does not vanish.

    Args:
        log_prob: log p(y) of each response, of `response_log_prob`.
        lengths: |y|, of `response_lengths`.

    Returns:
        One number per response, between 0 and 1.

    Raises:
        InvalidInput: shapes do not fit, a log-prob is not finite, or a length not 1 or more.
    """
    refuse_rows(log_prob=log_prob)
    refuse_lengths(lengths, len(log_prob))
    return torch.exp(log_prob / lengths)
