"""Computes the coefficients of the outcome form: policy gradients on graded responses, one at a time, without pairs."""

from jaxtyping import Float, Int
from torch import Tensor

from frpo_verl.losses.coefficients import Coefficients
from frpo_verl.losses.responses import inverse_perplexity
from frpo_verl.losses.unfit import refuse_rows


def outcome(
    log_prob: Float[Tensor, " bs"],
    lengths: Int[Tensor, " bs"],
    advantages: Float[Tensor, " bs"],
) -> Coefficients:
    """Computes the coefficients of the outcome form, which are those of the gradient of E[A·p(y)^{1/|y|}] when p = π_θ.

        C_w = max(A, 0)·p(y)^{1/|y|} / |y|        C_l = max(−A, 0)·p(y)^{1/|y|} / |y|

    With A = ±1 for the two sides of pairs it is SimPER.

    Our reading of "Future Policy Approximation for Offline Reinforcement Learning Improves Mathematical Reasoning"
    (https://arxiv.org/abs/2509.19893), versions 2 and 3, whose equations we have not seen.

    Args:
        log_prob: log p(y) of each response, of `response_log_prob`.
        lengths: |y|, of `response_lengths`.
        advantages: A, one number per response: a signed reward, or one that is normalised in its group.

    Returns:
        C_w and C_l of each response.

    Raises:
        InvalidInput: shapes do not fit, or a log-prob or an advantage is not finite.
    """
    refuse_rows(log_prob=log_prob, advantages=advantages)
    strength = inverse_perplexity(log_prob, lengths) / lengths
    return Coefficients(advantages.clamp(min=0) * strength, (-advantages).clamp(min=0) * strength)
