"""Masked reductions: the one place that divides by a mask's count.

Masking is by selection, never by multiplication: `mask * x` turns a NaN in a masked slot into a NaN in the result.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def zero_where_masked(
    values: Float[Tensor, "bs length"],
    mask: Bool[Tensor, "bs length"],
) -> Float[Tensor, "bs length"]:
    """Keeps the values of valid slots and puts 0 everywhere else, whatever stood there.

    Args:
        values: one number per token; masked slots may hold NaN or inf.
        mask: True for the tokens that count.

    Returns:
        The values with masked slots at exactly 0.
    """
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))


def masked_mean(
    values: Float[Tensor, "bs length"],
    mask: Bool[Tensor, "bs length"],
) -> Float[Tensor, ""]:
    """Mean over the valid slots of the whole batch (token mean): Σ m·x / Σ m, and 0 when no slot is valid.

    Args:
        values: one number per token.
        mask: True for the tokens that count.

    Returns:
        A scalar in the dtype of `values`.
    """
    return zero_where_masked(values, mask).sum() / mask.sum().clamp(min=1)


def masked_std(
    values: Float[Tensor, "bs length"],
    mask: Bool[Tensor, "bs length"],
) -> Float[Tensor, ""]:
    """Population standard deviation over the valid slots of the whole batch, and 0 when no slot is valid.

    Two passes (mean, then squared deviations), so that a large common offset does not cancel the spread.

    Args:
        values: one number per token.
        mask: True for the tokens that count.

    Returns:
        A scalar in the dtype of `values`.
    """
    return masked_mean((values - masked_mean(values, mask)).square(), mask).sqrt()
