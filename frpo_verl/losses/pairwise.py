"""Computes the coefficients of DPO, RPO and SimPER at any policy p: the current one, or the future one for FPA.

A pair names two rows of the batch. A row may be in several pairs, so that a response that many are compared with is
computed once.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from frpo_verl import checks
from frpo_verl.checks import InvalidInput
from frpo_verl.losses.coefficients import Coefficients
from frpo_verl.losses.responses import inverse_perplexity
from frpo_verl.losses.unfit import refuse_lengths, refuse_pairs, refuse_rows


class Pairs(NamedTuple):
    """Holds the rows of the batch that are compared; both are (pairs,) integers.

    Attributes:
        chosen: y_w, the row that is better.
        rejected: y_l, the row that is worse.
    """

    chosen: Tensor
    rejected: Tensor


def dpo(
    log_prob: Float[Tensor, " bs"],
    ref_log_prob: Float[Tensor, " bs"],
    pairs: Pairs,
    beta: float,
) -> Coefficients:
    """Computes the coefficients of DPO, which are those of its gradient when p = π_θ.

        C_w = C_l = β·σ(β·[log p(y_l)/π_ref(y_l) − log p(y_w)/π_ref(y_w)])

    At π̂ this is DPO with (1 + λ)·β inside of σ and β outside, but for the normalisers.

    See "Direct Preference Optimization" (https://arxiv.org/abs/2305.18290), eq. 7 and its gradient in section 4.

    Args:
        log_prob: log p(y) of each response, of `response_log_prob`.
        ref_log_prob: log π_ref(y), likewise.
        pairs: y_w and y_l.
        beta: β.

    Returns:
        C_w and C_l of each response, added up over its pairs.

    Raises:
        InvalidInput: shapes do not fit, a pair is not two rows of the batch, β is negative, or a log-prob not finite.
    """
    checks.coefficient(beta)
    refuse_rows(log_prob=log_prob, ref_log_prob=ref_log_prob)
    reward = beta * (log_prob - ref_log_prob)
    refuse_pairs(*pairs, len(reward))
    strength = beta * torch.sigmoid(reward[pairs.rejected] - reward[pairs.chosen])
    return _of_rows(strength, strength, pairs, len(reward))


def rpo(
    log_prob: Float[Tensor, " bs"],
    ref_log_prob: Float[Tensor, " bs"],
    lengths: Int[Tensor, " bs"],
    pairs: Pairs,
    beta: float,
    alpha: float,
) -> Coefficients:
    """Computes the coefficients of RPO: DPO, and α times the chosen response's negative log-likelihood per token.

        C_w = DPO's + α / |y_w|        C_l = DPO's

    The likelihood's part is the same at every policy.

    See "Iterative Reasoning Preference Optimization" (https://arxiv.org/abs/2404.19733), eq. 1.

    Args:
        log_prob: log p(y) of each response, of `response_log_prob`.
        ref_log_prob: log π_ref(y), likewise.
        lengths: |y|, of `response_lengths`.
        pairs: y_w and y_l.
        beta: β.
        alpha: α.

    Returns:
        C_w and C_l of each response, added up over its pairs.

    Raises:
        InvalidInput: what `dpo` refuses, or α is negative.
    """
    if not 0 <= alpha < float("inf"):
        raise InvalidInput(f"alpha is {alpha!r}: it must be a finite number that is not negative, for instance 1")
    compared = dpo(log_prob, ref_log_prob, pairs, beta)
    refuse_lengths(lengths, len(log_prob))
    likelihood = alpha / lengths[pairs.chosen].to(compared.up.dtype)
    return compared._replace(up=compared.up.index_add(0, pairs.chosen, likelihood))


def simper(
    log_prob: Float[Tensor, " bs"],
    lengths: Int[Tensor, " bs"],
    pairs: Pairs,
) -> Coefficients:
    """Computes the coefficients of SimPER, which has no reference; π̂ has one.

        C_w = p(y_w)^{1/|y_w|} / |y_w|        C_l = p(y_l)^{1/|y_l|} / |y_l|

    See "SimPER: A Minimalist Approach to Preference Alignment without Hyperparameters"
    (https://arxiv.org/abs/2502.00883).

    Args:
        log_prob: log p(y) of each response, of `response_log_prob`.
        lengths: |y|, of `response_lengths`.
        pairs: y_w and y_l.

    Returns:
        C_w and C_l of each response, added up over its pairs.

    Raises:
        InvalidInput: shapes do not fit, a pair is not two rows of the batch, or a log-prob is not finite.
    """
    strength = inverse_perplexity(log_prob, lengths) / lengths
    refuse_pairs(*pairs, len(strength))
    return _of_rows(strength[pairs.chosen], strength[pairs.rejected], pairs, len(strength))


def _of_rows(
    chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"], pairs: Pairs, rows: int
) -> Coefficients:
    nothing = chosen.new_zeros(rows)
    return Coefficients(nothing.index_add(0, pairs.chosen, chosen), nothing.index_add(0, pairs.rejected, rejected))
