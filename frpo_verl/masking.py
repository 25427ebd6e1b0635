"""Selects and averages the valid slots of a batch.

Masking is by selection, never by multiplication: `mask * x` turns a NaN in a masked slot into a NaN in the result.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from frpo_verl.rows import row_blocks


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
    """Averages over the valid slots of the whole batch (token mean): Σ m·x / Σ m, and 0 when no slot is valid.

    Args:
        values: one number per token.
        mask: True for the tokens that count.

    Returns:
        A scalar in the dtype of `values`.
    """
    total = sum(zero_where_masked(values[rows], mask[rows]).sum(dtype=torch.float64) for rows in row_blocks(mask))
    # By rows, too: torch makes eight bytes of each slot to count them.
    tokens = sum((mask[rows].sum() for rows in row_blocks(mask)), start=mask.new_zeros((), dtype=torch.int64))
    return (total / tokens.clamp(min=1)).to(values.dtype)
