"""Extrapolates from the reference over the policy to a future policy, and asks it for the log-probs of given tokens.

All is computed a block of tokens at a time. Next to the two sets of logits, which the models have made, no third tensor
of their size stands; the gradient, when it is asked for, takes the place of the reference's.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from frpo_verl.losses.unfit import refuse_logits, refuse_strength
from frpo_verl.losses.vocabulary import WHOLE, Part
from frpo_verl.rows import row_blocks


class FuturePolicy(NamedTuple):
    """Holds the log-probs of the same tokens under three policies, float32 or better.

    Attributes:
        log_prob: (tokens,), log π_θ, through which the gradient flows.
        ref_log_prob: (tokens,), log π_ref.
        future_log_prob: (tokens,), log π̂, a constant in the gradient.
    """

    log_prob: Tensor
    ref_log_prob: Tensor
    future_log_prob: Tensor


def future_policy(
    logits: Float[Tensor, "tokens vocabulary"],
    reference_logits: Float[Tensor, "tokens vocabulary"],
    labels: Int[Tensor, " tokens"],
    strength: float,
    part: Part = WHOLE,
) -> FuturePolicy:
    """Computes the log-probs of tokens under π_θ, π_ref and the future policy π̂, exact over the vocabulary.

        π̂ = softmax((1 + λ)·h_θ − λ·h_ref)

    With λ = 0, log π̂ is log π_θ to the bit. Half precision is computed in float32. A column that the policy rules out
    (−inf) stays out; one that the reference alone rules out leaves π̂ undefined for λ > 0, and log π̂ is NaN there. The
    paper's logits have temperature 1; logits that were divided by another one give the π̂ of those policies.

    See "Future Policy Approximation for Offline Reinforcement Learning Improves Mathematical Reasoning"
    (https://arxiv.org/abs/2509.19893), version 1, and `fpa.md`.

    Args:
        logits: h_θ; all columns, or those of `part`.
        reference_logits: h_ref at the same positions, the same columns. It is not kept for the backward pass.
        labels: the token that follows at each position; where none does, any token.
        strength: λ, how far ahead, not negative.
        part: the columns that this process holds; the default is all of them.

    Returns:
        The three log-probs of each label.

    Raises:
        InvalidInput: λ, shapes or dtypes do not fit, the two vocabularies differ, or a label is not in them.
    """
    refuse_strength(strength)
    refuse_logits(logits, reference_logits, labels, part)
    return FuturePolicy(*_LogProbs.apply(logits, reference_logits, labels, strength, part))


def without_normaliser(
    log_prob: Float[Tensor, "*tokens"],
    ref_log_prob: Float[Tensor, "*tokens"],
    strength: float,
) -> Float[Tensor, "*tokens"]:
    """Approximates log π̂ from above by what is known without the vocabulary.

        (1 + λ)·log π_θ − λ·log π_ref  =  log π̂ + λ·D_{1+λ}(π_θ ‖ π_ref)

    The error λ·D_{1+λ}, with Rényi's divergence of order 1 + λ over the vocabulary at that position, is never negative.
    It is 0 where the policies agree, ½·λ·(1 + λ)·Var_π(log π_θ/π_ref) near there, at most λ·max_v log π_θ(v)/π_ref(v).
    What this gives less `future_log_prob` is that error.

    See "Future Policy Approximation for Offline Reinforcement Learning Improves Mathematical Reasoning"
    (https://arxiv.org/abs/2509.19893), whose π̂ this is without its normaliser; the name and the error are ours.

    Args:
        log_prob: log π_θ.
        ref_log_prob: log π_ref.
        strength: λ.

    Returns:
        One number per token, float32 or better, a constant in the gradient; it may be above 0.

    Raises:
        InvalidInput: λ does not fit.
    """
    refuse_strength(strength)
    dtype = torch.promote_types(torch.result_type(log_prob, ref_log_prob), torch.float32)
    return extrapolated(log_prob.detach().to(dtype), ref_log_prob.detach().to(dtype), strength)


def extrapolated(current: Tensor, reference: Tensor, strength: float) -> Tensor:
    """Computes (1 + λ)·h − λ·h_ref as h + λ·(h − h_ref): h to the bit for λ = 0, and digits kept where both agree."""
    if strength == 0:
        # 0·∞ is NaN where the reference alone rules a column out
        return current.clone()
    moved = torch.add(current, current - reference, alpha=strength)
    return moved.masked_fill_(current == -torch.inf, -torch.inf)


class _LogProbs(torch.autograd.Function):
    """log π_θ, log π_ref and log π̂ of the labels; ∂ log π_θ(y) / ∂h_v = 1[v = y] − π_θ(v), the others are constants."""

    @staticmethod
    def forward(ctx, logits, reference_logits, labels, strength, part):
        column = labels - part.index * logits.shape[1]
        own = (column >= 0) & (column < logits.shape[1])
        column = torch.where(own, column, 0)
        largest, totals, chosen = _of_columns(logits, reference_logits, column, strength)
        top = part.maximum(largest)
        sums = part.total(torch.cat((totals * torch.exp(largest - top), torch.where(own, chosen, 0.0))))
        log_total = sums[:3].log()
        policy, reference, future = sums[3:] - top - log_total
        ctx.save_for_backward(logits, column, own, top[0], log_total[0])
        ctx.mark_non_differentiable(reference, future)
        return policy, reference, future

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        logits, column, own, top, log_total = ctx.saved_tensors
        result = torch.empty_like(logits)
        for rows in row_blocks(logits):
            log_policy = logits[rows].to(top.dtype) - top[rows, None] - log_total[rows, None]
            block = log_policy.exp_().mul_(-gradient[rows, None])
            block.scatter_add_(1, column[rows, None], torch.where(own[rows], gradient[rows], 0.0)[:, None])
            result[rows] = block
        return result, None, None, None, None


def _of_columns(
    logits: Float[Tensor, "tokens vocabulary"],
    reference_logits: Float[Tensor, "tokens vocabulary"],
    column: Int[Tensor, " tokens"],
    strength: float,
) -> tuple[Float[Tensor, "3 tokens"], Float[Tensor, "3 tokens"], Float[Tensor, "3 tokens"]]:
    """Returns max_v h_v, Σ_v exp(h_v − max) and h of the column, of the policy, the reference and the future policy."""
    dtype = torch.promote_types(torch.result_type(logits, reference_logits), torch.float32)
    lowest = torch.finfo(dtype).min
    largest, totals, chosen = torch.empty(3, 3, len(logits), dtype=dtype, device=logits.device)
    for rows in row_blocks(logits):
        policy, reference = logits[rows].to(dtype), reference_logits[rows].to(dtype)
        for which, block in enumerate((policy, reference, extrapolated(policy, reference, strength))):
            # a part may be ruled out altogether: −inf − −inf is not a number
            largest[which, rows] = block.amax(1).clamp(min=lowest)
            totals[which, rows] = (block - largest[which, rows, None]).exp_().sum(1)
            chosen[which, rows] = block.gather(1, column[rows, None])[:, 0]
    return largest, totals, chosen
