"""What a regulariser does to a batch of advantages, in figures: spread, share of the variance, signs, profile."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl import checks

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
    mask = response_mask.bool()
    count = mask.cumsum(-1)
    tenth = ((count - 1) * PARTS).div(count[:, -1:].clamp(min=1), rounding_mode="floor")[mask]
    old, new = before.detach()[mask].double(), after.detach()[mask].double()
    if not len(old):
        return Diagnostics(0.0, 0.0, [0.0] * len(QUANTILES), [0.0] * PARTS)
    off = old - new
    variances = _variance(old), _variance(off)
    sample = off[:: max(1, len(off) // _SAMPLE)]
    counts = torch.bincount(tenth, minlength=PARTS).clamp(min=1)
    return Diagnostics(
        variance_share=variances[1] / sum(variances) if variances[1] else 0.0,
        sign_flips=(old * new < 0).double().mean().item(),
        quantiles=torch.quantile(sample, sample.new_tensor(QUANTILES)).tolist(),
        profile=(torch.bincount(tenth, off, minlength=PARTS) / counts).tolist(),
    )


def _variance(values: Tensor) -> float:
    variance = values.var(correction=0).item()
    # What is left of equal values is the rounding of their mean.
    return variance if variance > 1e-24 * values.square().mean().item() else 0.0
