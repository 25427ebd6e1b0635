"""Sums over the valid tokens of each response, from which every figure of a log line follows."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from frpo_verl.masking import zero_where_masked

PARTS = 10
"""Parts of a response in the profile."""

COLUMNS = 8 + PARTS

SAMPLE = 2**16
"""Slots that stand for a larger batch where a figure needs single tokens."""

GOLDEN = (math.sqrt(5) - 1) / 2


class Sums(NamedTuple):
    """Sums over the valid tokens of each response, (bs,) each, in float64.

    Attributes:
        tokens: how many there are.
        log_prob: Σ log π_θ.
        divergence: Σ f(u), future(δ) of each token.
        term: Σ reg.
        term_square: Σ reg².
        outcome: Σ Â, without the divergence.
        outcome_square: Σ Â².
        flips: how many have Â·(Â − β·reg) < 0.
        tenths: (bs, 10), Σ reg over each tenth; the n-th of T tokens falls into tenth ⌊10·(n − 1)/T⌋.
    """

    tokens: Tensor
    log_prob: Tensor
    divergence: Tensor
    term: Tensor
    term_square: Tensor
    outcome: Tensor
    outcome_square: Tensor
    flips: Tensor
    tenths: Tensor

    @classmethod
    def of(cls, table: Float[Tensor, "bs 18"]) -> "Sums":
        """Names the columns of a table."""
        return cls(*table[:, :-PARTS].unbind(-1), table[:, -PARTS:])


def measure(
    log_prob: Float[Tensor, "rows length"],
    divergence: Float[Tensor, "rows length"],
    divergence_to_go: Float[Tensor, "rows length"],
    outcome: Float[Tensor, "rows length"],
    advantage: Float[Tensor, "rows length"],
    mask: Bool[Tensor, "rows length"],
) -> Float[Tensor, "rows 18"]:
    """Computes the sums of some rows of a batch.

    Args:
        log_prob: log π_θ.
        divergence: f(u).
        divergence_to_go: reg.
        outcome: Â, without the divergence.
        advantage: Â − β·reg.
        mask: True for the tokens that the policy produced.

    Returns:
        The columns of `Sums`.
    """

    def valid(values: Tensor) -> Tensor:
        return zero_where_masked(values, mask).double()

    tenths = _by_tenth(divergence_to_go, mask)
    flips = zero_where_masked(advantage.sign(), mask).mul_(outcome.sign()) < 0
    columns = [mask.sum(-1), valid(log_prob).sum(-1), valid(divergence).sum(-1)]
    for values in (divergence_to_go, outcome):
        # One after the other, and in place: each is a tensor of the block's size, twice as wide.
        of_valid = valid(values)
        columns += [of_valid.sum(-1), of_valid.square_().sum(-1)]
    return torch.cat([torch.stack([*columns, flips.sum(-1)], -1), tenths], -1)


def _by_tenth(values: Tensor, mask: Tensor) -> Tensor:
    """Sums values over the valid tokens of each tenth of a response."""
    number = mask.cumsum(-1, dtype=torch.int32)
    tokens = number[:, -1:].clamp(min=1)
    tenth = number.sub_(1).mul_(PARTS).div_(tokens, rounding_mode="floor").clamp_(min=0).long()
    values = zero_where_masked(values, mask).double()
    return values.new_zeros(len(values), PARTS).scatter_add_(-1, tenth, values)


def sample_slots(rows: int, length: int) -> Int[Tensor, " slots"]:
    """Picks slots that stand for a batch: all of at most 65,536, otherwise 65,536 of them, one from each even stretch.

    Within its stretch the slot is shifted by multiples of the golden ratio, since stretches as long as a row would
    otherwise always meet the same place of a response.

    Args:
        rows: responses.
        length: slots of a response.

    Returns:
        Indices into the flattened batch, in order.
    """
    slots = rows * length
    # numpy starts no threads, which take longer than this does where cores are busy.
    number = np.arange(min(slots, SAMPLE), dtype=np.float64)
    if slots > SAMPLE:
        number = (number + number * GOLDEN % 1) * (slots / SAMPLE)
    return torch.from_numpy(number.astype(np.int64))
