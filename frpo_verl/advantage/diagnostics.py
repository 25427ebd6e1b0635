"""What a regulariser does to a batch of advantages, in figures: spread, share of the variance, signs, profile."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import row_blocks

PARTS = 10
"""Parts of a response in the profile."""

QUANTILES = (0.05, 0.5, 0.95)

_SAMPLE = 2**16
"""Tokens that quantiles are taken of: evenly spaced in the batch, so that sorting them costs next to nothing."""


class Diagnostics(NamedTuple):
    """Figures over the valid tokens of a batch; all 0 when there are none.

    Attributes:
        variance_share: Var(c) / (Var(Â) + Var(c)), in [0, 1], with c = before − after.
        sign_flips: the share of tokens with before · after < 0.
        quantiles: of c at `QUANTILES`, from at most 65,536 evenly spaced tokens.
        profile: the mean of c over the tokens in each tenth of their response, the first tenth first; 0 for a tenth
            that no token falls into.
    """

    variance_share: float
    sign_flips: float
    quantiles: list[float]
    profile: list[float]


def diagnose(
    before: Float[Tensor, "bs length"],
    after: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
) -> Diagnostics:
    """Compares advantages before and after a regulariser, c = before − after being what it took off.

    The n-th of a response's T valid tokens falls into tenth ⌊10·(n − 1)/T⌋. Variances are over tokens. A short response
    has no token in some tenths, so each tenth's mean is over the tokens that are there.

    Args:
        before: the advantage without the regulariser.
        after: the advantage with it.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The figures.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.padded_tensors(response_mask, before=before, after=after)
    sums = torch.zeros(6, dtype=torch.float64, device=before.device)
    part_sums = torch.zeros(PARTS, dtype=torch.float64, device=before.device)
    part_counts = torch.zeros(PARTS, dtype=torch.float64, device=before.device)
    taken = []
    stride = max(1, before.numel() // _SAMPLE)
    for rows in row_blocks(before):
        mask = response_mask[rows].bool()
        old, new = zero_where_masked(before[rows], mask), zero_where_masked(after[rows], mask)
        off = old - new
        flipped = old * new < 0
        sums += torch.stack([part.double().sum() for part in (mask, old, old.square(), off, off.square(), flipped)])
        count = mask.cumsum(-1, dtype=torch.int32)
        part = ((count - 1) * PARTS).div(count[:, -1:].clamp(min=1), rounding_mode="floor")[mask].long()
        valid = off[mask]
        part_sums.index_add_(0, part, valid.double())
        part_counts += torch.bincount(part, minlength=PARTS)
        taken.append(valid[::stride])
    return _figures(
        sums.tolist(), part_sums / part_counts.clamp(min=1), torch.cat(taken) if taken else before.new_empty(0)
    )


def _figures(sums: list[float], profile: Tensor, sample: Tensor) -> Diagnostics:
    tokens, old, old_square, off, off_square, flipped = sums
    if not tokens:
        return Diagnostics(0.0, 0.0, [0.0] * len(QUANTILES), [0.0] * PARTS)
    old_variance, off_variance = _variance(old, old_square, tokens), _variance(off, off_square, tokens)
    at = torch.tensor(QUANTILES, dtype=sample.dtype, device=sample.device)
    return Diagnostics(
        variance_share=off_variance / (old_variance + off_variance) if off_variance else 0.0,
        sign_flips=flipped / tokens,
        quantiles=torch.quantile(sample, at).tolist(),
        profile=profile.tolist(),
    )


def _variance(total: float, square: float, tokens: float) -> float:
    mean_square = square / tokens
    variance = mean_square - (total / tokens) ** 2
    # What is left of equal values is the rounding of float64 sums.
    return variance if variance > 1e-12 * mean_square else 0.0
