"""Visits the weights w = Â − β·reg of a batch with their columns, group by group: the definition, for every device."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import CPU_BLOCK, on_host

COLUMNS = ("constant", "position", "others_to_go", "others_sequence", "own_past")
"""1; t, in valid tokens; the mean over the others of reg at t, and of Σ_j m_j future(δ_j); Σ_{j<t} m_j future(δ_j)."""

SIZE = len(COLUMNS) + 1

BLOCKS, LEAST_BLOCK = 32, 2**18
"""Blocks of a batch on an accelerator, with a table of six numbers of eight bytes a slot; slots of the least."""


class Weights(NamedTuple):
    """Holds what the weights of a batch, and the columns of their baseline, are made of.

    Attributes:
        outcome: Â, (bs,) or (bs, length).
        to_go: (bs, length), reg, 0 in masked slots.
        past: (bs, length), Σ_{j<t} m_j future(δ_j); None where it is the first token's reg less reg.
        whole: (bs,), float64, Σ_j m_j future(δ_j).
        tokens: (bs,), int64, how many there are.
        mask: (bs, length), nonzero for the tokens that the policy produced.
    """

    outcome: Tensor
    to_go: Tensor
    past: Tensor | None
    whole: Tensor
    tokens: Tensor
    mask: Tensor


class Members(NamedTuple):
    """The rows of a batch that have a token, sorted by group and then by rollout.

    Attributes:
        rows: their places in the batch.
        rollout: a label of the rollout of each.
        bounds: where each group begins among them, and where the last one ends.
    """

    rows: np.ndarray
    rollout: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, group: Tensor, rollout: Tensor | None, tokens: Tensor) -> "Members":
        """Sorts; each row is a rollout where none are named. Rows without a token (padding) are nobody's others."""
        there = tokens.nonzero()[:, 0]
        rows, group = there.cpu().numpy(), group[there].cpu().numpy()
        of_rollout = rows if rollout is None else rollout[there].cpu().numpy()
        order = np.lexsort((of_rollout, group))
        group = group[order]
        begins = np.flatnonzero(np.diff(group, prepend=group[:1] - 1)) if len(rows) else rows
        return cls(rows[order], of_rollout[order], np.append(begins, len(rows)))

    @property
    def groups(self) -> int:
        """Returns how many groups have a token."""
        return len(self.bounds) - 1


def visit(of: Weights, who: Members, beta: float, moments: Tensor, coefficients: Tensor) -> None:
    """Adds to the moments of each group, or, given coefficients, writes Â − β·reg − z·θ in the place of reg.

    Args:
        of: what the weights are made of.
        who: whose they are.
        beta: β.
        moments: (groups, 6, 6), float64, Σ [z; w][z; w]ᵀ, added to; or of no group.
        coefficients: (groups, 5), float64, θ; or of no group.
    """
    device = of.to_go.device
    numbers = np.repeat(np.arange(who.groups), np.diff(who.bounds))
    for low, high in _blocks(who, of.to_go):
        rows, group, rollout = (
            torch.from_numpy(part[low:high]).to(device) for part in (who.rows, numbers, who.rollout)
        )
        table = _table(of, rows, group, rollout, beta)
        if len(coefficients):
            less = table[..., -1] - torch.einsum("rtc,rc->rt", table[..., :-1], coefficients[group])
            of.to_go[rows] = less.to(of.to_go.dtype)
        else:
            moments.index_add_(0, group, table.transpose(1, 2) @ table)


def _table(of: Weights, rows: Tensor, group: Tensor, rollout: Tensor, beta: float) -> Tensor:
    """Returns (rows, length, 6), float64: the columns and w, 0 in masked slots."""
    mask, to_go = of.mask[rows].bool(), of.to_go[rows].double()
    place = (mask.cumsum(-1) - 1).clamp_(min=0)
    # Column by column: each is a tensor of the block's size, twice as wide.
    table = to_go.new_zeros(*to_go.shape, SIZE)
    table[..., 0] = mask
    table[..., 1] = torch.where(mask, place, 0)
    table[..., 2] = zero_where_masked(_mean_of_others(to_go, mask, place, group, rollout), mask)
    first = torch.zeros_like(place[:, :1])
    whole = _mean_of_others(of.whole[rows, None], torch.ones_like(first), first, group, rollout)
    table[..., 3] = zero_where_masked(whole.expand(mask.shape), mask)
    past = to_go.gather(1, mask.long().argmax(-1, keepdim=True)) - to_go if of.past is None else of.past[rows]
    table[..., 4] = zero_where_masked(past, mask)
    outcome = of.outcome[rows] if of.outcome.dim() == 2 else of.outcome[rows, None].expand(mask.shape)
    table[..., 5] = zero_where_masked(outcome.double() - beta * to_go, mask)
    return table


def _mean_of_others(values: Tensor, mask: Tensor, place: Tensor, group: Tensor, rollout: Tensor) -> Tensor:
    """Returns the mean at each place over the rows of the group that are not of the own rollout; values are masked."""
    of_label = []
    for label in (group, rollout):
        _, label = torch.unique(label, return_inverse=True)
        at = label[:, None] * place.shape[1] + place
        for numbers in (values, mask.to(values.dtype)):
            sums = values.new_zeros(len(label) * place.shape[1])
            of_label.append(sums.index_add_(0, at.flatten(), numbers.flatten())[at])
    total, number, own, own_number = of_label
    left = number - own_number
    return torch.where(left > 0, (total - own) / left.clamp(min=1), torch.zeros_like(total))


def _blocks(who: Members, like: Tensor) -> Iterator[tuple[int, int]]:
    """Yields the ends of stretches of whole groups whose table takes no more than a share of the batch's memory."""
    slots = CPU_BLOCK if on_host(like.device) else max(LEAST_BLOCK, like.numel() // BLOCKS)
    low = 0
    while low < len(who.rows):
        fits = np.searchsorted(who.bounds, low + slots // like.shape[1], side="right") - 1
        high = max(who.bounds[fits], who.bounds[np.searchsorted(who.bounds, low, side="right")])
        yield low, high
        low = high
