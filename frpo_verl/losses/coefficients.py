"""Makes a loss of coefficients: how strongly each response is raised, and how strongly it is lowered.

Every method of offline preference learning here has a gradient of this form, with coefficients that depend on a policy
but are constants in the gradient. The base method takes them at π_θ, FPA at the future policy π̂.
"""

from typing import NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl.losses.responses import response_log_prob
from frpo_verl.losses.unfit import refuse_rows


class Coefficients(NamedTuple):
    """Holds the factors of ∇log π_θ(y) of each response; both are (bs,) and not negative.

    Attributes:
        up: C_w, added up over what the response is good for: its pairs as the chosen one, or its positive advantage.
        down: C_l, likewise for what it is bad for.
    """

    up: Tensor
    down: Tensor


def surrogate(
    coefficients: Coefficients,
    log_prob: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
) -> Float[Tensor, " bs"]:
    """Computes the loss whose gradient is that of the method; its value is not the method's loss.

        L = −sg[C_w − C_l]·log π_θ(y)        log π_θ(y) = Σ_t m_t·log π_θ(y_t),  sg: constant in the gradient

    Divided by the number of pairs (of responses, for `outcome`) in the whole batch, it adds up over micro-batches.

    See "Future Policy Approximation for Offline Reinforcement Learning Improves Mathematical Reasoning"
    (https://arxiv.org/abs/2509.19893), version 1.

    Args:
        coefficients: C_w and C_l.
        log_prob: log π_θ of every token, with its gradient.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        One number per response, float64.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token or a coefficient is not finite.
    """
    log_prob_of_rows = response_log_prob(log_prob, response_mask)
    refuse_rows(response_log_prob=log_prob_of_rows, up=coefficients.up, down=coefficients.down)
    return -(coefficients.up - coefficients.down).detach() * log_prob_of_rows


def negatives_only(current: Coefficients, future: Coefficients) -> Coefficients:
    """Takes the future policy's coefficients where a response is lowered, and the current policy's where it is raised.

    See the ablation of arXiv 2509.19893, version 1, where C_l alone had the whole gain.

    Args:
        current: the coefficients at π_θ.
        future: those at π̂.

    Returns:
        C_w(π_θ) and C_l(π̂).
    """
    return Coefficients(current.up, future.down)
