"""Figures of what a regulariser does to a batch of advantages: size, spread, share of the variance, signs, profile."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.batch import RegularisedBatch
from frpo_verl.advantage.sums import PARTS, Sums, sample_slots

QUANTILES = (0.05, 0.5, 0.95)


class Diagnostics(NamedTuple):
    """Figures over the valid tokens of a batch; all 0 when there are none.

    Attributes:
        divergence_per_token: Σ f(u) / tokens, in nats; k1 of reverse KL by default.
        divergence_per_response: Σ f(u) / responses that have a valid token, in nats.
        mean: of reg, in nats.
        std: of reg, in nats, over tokens.
        quantiles: of reg at `QUANTILES`, in nats, from the valid tokens among at most 65,536 slots (`sample_slots`).
        profile: the mean of reg over the tokens in each tenth of their response, the first tenth first; 0 for a tenth
            that no token falls into.
        variance_share: Var(β·reg) / (Var(Â) + Var(β·reg)), in [0, 1]; variances over tokens, Â without the divergence.
        sign_flips: the share of tokens whose advantage changes sign, Â·(Â − β·reg) < 0.
        entropy: −Σ log π_θ / tokens, in nats: an estimate of the policy's entropy.
    """

    divergence_per_token: float
    divergence_per_response: float
    mean: float
    std: float
    quantiles: list[float]
    profile: list[float]
    variance_share: float
    sign_flips: float
    entropy: float


def diagnose(
    done: RegularisedBatch,
    outcome: Float[Tensor, " bs"] | Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    beta: float,
    divergence_to_go: Float[Tensor, "bs length"] | None = None,
) -> Diagnostics:
    """Makes a log line's figures of a regularised batch, without another sweep over its tokens.

    The n-th of a response's T valid tokens falls into tenth ⌊10·(n − 1)/T⌋. A short response has no token in some
    tenths, so each tenth's mean is over the tokens that are there.

    Args:
        done: what `regularise_batch` returned.
        outcome: what it was given.
        response_mask: what it was given.
        beta: what it was given; not 0, since reg is read off the advantages for the quantiles.
        divergence_to_go: reg, from which the quantiles are taken instead; where `is_coarse`, they need it.

    Returns:
        The figures.

    Raises:
        InvalidInput: β is 0 or does not fit.
    """
    checks.coefficient(beta)
    if beta == 0:
        raise checks.InvalidInput("beta is 0: nothing was subtracted, so there is nothing to diagnose")
    sums = Sums(*(part.sum(0) for part in done.sums))
    tokens = max(1.0, sums.tokens.item())
    responses = max(1, int((done.sums.tokens > 0).sum()))
    of_outcome = _variance(sums.outcome, sums.outcome_square, tokens)
    of_term = _variance(sums.term, sums.term_square, tokens)
    subtracted = beta**2 * of_term
    return Diagnostics(
        divergence_per_token=sums.divergence.item() / tokens,
        divergence_per_response=sums.divergence.item() / responses,
        mean=sums.term.item() / tokens,
        std=math.sqrt(of_term),
        quantiles=_quantiles(done, outcome, response_mask, beta, divergence_to_go),
        profile=(sums.tenths / _tokens_by_tenth(done.sums.tokens).clamp(min=1)).tolist(),
        variance_share=subtracted / (of_outcome + subtracted) if subtracted else 0.0,
        sign_flips=sums.flips.item() / tokens,
        entropy=-sums.log_prob.item() / tokens,
    )


def is_coarse(done: RegularisedBatch, beta: float) -> bool:
    """Tells whether β is so small that rounding the advantages takes more than 1% of reg's deviation from it.

    Args:
        done: what `regularise_batch` returned.
        beta: what it was given.

    Returns:
        True where reg has to be computed again for its quantiles.
    """
    if done.sampled_to_go is not None:
        return False
    sums = Sums(*(part.sum(0) for part in done.sums))
    tokens = max(1.0, sums.tokens.item())
    rounding = torch.finfo(done.advantages.dtype).eps * math.sqrt(sums.outcome_square.item() / tokens)
    deviation = math.sqrt(_variance(sums.term, sums.term_square, tokens))
    # An adaptive β is numpy's number.
    return bool(deviation > 0 and rounding > 0.01 * beta * deviation)


def _quantiles(
    done: RegularisedBatch, outcome: Tensor, mask: Tensor, beta: float, divergence_to_go: Tensor | None
) -> list[float]:
    slots = sample_slots(*mask.shape).to(mask.device)
    counts = mask.reshape(-1)[slots] != 0
    slots = slots[counts]
    if not len(slots):
        return [0.0] * len(QUANTILES)
    if done.sampled_to_go is not None:
        reg = done.sampled_to_go[counts].double()
    elif divergence_to_go is None:
        before = outcome[slots // mask.shape[1]] if outcome.dim() == 1 else outcome.reshape(-1)[slots]
        reg = (before.double() - done.advantages.reshape(-1)[slots].double()) / beta
    else:
        reg = divergence_to_go.reshape(-1)[slots].double()
    # numpy's, which does not sort, takes a twentieth of torch's time.
    return np.quantile(reg.cpu().numpy(), QUANTILES).tolist()


def _tokens_by_tenth(tokens: Tensor) -> Tensor:
    """Counts the tokens with ⌊10·(n − 1)/T⌋ = k, for k from 0 to 9."""
    edges = -(-tokens.long()[:, None] * torch.arange(PARTS + 1, device=tokens.device) // PARTS)
    return edges.diff(dim=-1).sum(0)


def _variance(total: Tensor, square: Tensor, count: float) -> float:
    mean, mean_square = total.item() / count, square.item() / count
    variance = mean_square - mean**2
    # What is left of equal values is rounding.
    return variance if variance > 1e-12 * mean_square else 0.0
