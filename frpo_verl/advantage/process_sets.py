"""Finds, for each token of a response, the responses of its group that share the prefix up to that token."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from frpo_verl import checks

FIRST_COLUMNS = 64
"""Tokens that are compared at first: sampled responses have seldom more in common."""

GROWTH = 4
"""Responses that still tie are compared that many times as far in the next round."""

BLOCK = 2**20
"""Tokens in a round, so that it stays in the cache: 8 MB."""

NO_TOKEN = np.iinfo(np.int64).min
"""Stands after a response's last token, so that to end is to differ from what goes on; not a token id."""


class ProcessSets(NamedTuple):
    """The process sets of a batch that have two responses or more: what they share, and which responses they are.

    A token that is in none of their steps has |λ| = 1.

    Attributes:
        length: how many slots a row has.
        start: (bs,), where a response's tokens begin.
        order: (responses with a token,), rows, so that those of a set follow each other.
        steps: (sets, 4), first, last, begin, end: the rows order[first:last] are a set, and their tokens from begin to
            end, counted from their starts, are its step, for which |λ| = last − first.
        copies: (bs,), how many responses of the group are this one, itself included; 0 for one without a token.
    """

    length: int
    start: Tensor
    order: Tensor
    steps: Tensor
    copies: Tensor

    def spans(self) -> Iterator[tuple[np.ndarray, slice, int]]:
        """Yields rows, the columns in which they share their tokens, and |λ|; every shared token once."""
        order, start = self.order.numpy(), self.start.numpy()
        aligned = len(set(start[order].tolist())) == 1
        for first, last, begin, end in self.steps.tolist():
            rows = order[first:last]
            # Rows that begin in different columns share different ones.
            for part in [rows] if aligned else rows[:, None]:
                yield part, slice(start[part[0]] + begin, start[part[0]] + end), last - first


def count_process_sets(
    token_ids: Int[Tensor, "bs length"],
    present: Shaped[Tensor, "bs length"],
    group: Int[Tensor, " bs"],
) -> ProcessSets:
    """Finds the responses that share each prefix, exactly, in O(k·T·log k) time and O(k·T) memory a group.

        |λ(i,t)| = #{ j in i's group : y⁽ʲ⁾_{≤t} = y⁽ⁱ⁾_{≤t} },   the token t itself included

    A response that ends where another goes on differs from it there. End tokens and observations are tokens like any
    other. Rows of a group may be anywhere in the batch.

    Rows are sorted so that those with a common prefix stand together; what neighbours have in common then gives every
    set. Only responses that tie are compared further than the first tokens.

    See "GRPO is Secretly a Process Reward Model" (https://arxiv.org/abs/2509.21154), section 3 and eq. 9.

    Args:
        token_ids: the tokens of each response, anything where there is none.
        present: nonzero where a token exists, observations included: one run in each row, padding on either side.
        group: the group of each response, any integers.

    Returns:
        The sets, on the CPU.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a row's tokens are not one run.
    """
    checks.token_tree(token_ids, present, group)
    ids = token_ids.cpu().numpy()
    start, length = _runs(present.bool().cpu().numpy())
    if start.any():
        ids = _left_aligned(ids, start, length)
    order, shared = _sorted_rows(ids, length, group.cpu().numpy())
    steps = np.array(list(_nodes(shared.tolist())), np.int64).reshape(-1, 4)
    of_rows = (start, order, steps, _copies(order, length, shared))
    return ProcessSets(token_ids.shape[1], *map(torch.from_numpy, of_rows))


def process_set_sizes(
    token_ids: Int[Tensor, "bs length"],
    present: Shaped[Tensor, "bs length"],
    group: Int[Tensor, " bs"],
) -> Int[Tensor, "bs length"]:
    """Computes |λ(i,t)| of every token, of `count_process_sets`.

    Args:
        token_ids: the tokens of each response, anything where there is none.
        present: nonzero where a token exists, observations included: one run in each row, padding on either side.
        group: the group of each response, any integers.

    Returns:
        |λ| ≥ 1, int32, on the device of `present`; 0 where there is no token.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a row's tokens are not one run.
    """
    sets = count_process_sets(token_ids, present, group)
    sizes = present.bool().cpu().to(torch.int32)
    for rows, columns, size in sets.spans():
        sizes.numpy()[rows, columns] = size
    return sizes.to(present.device)


def _runs(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each row's tokens begin (0 if there is none) and how many there are; refuses gaps."""
    if not there.size:
        return (np.zeros(len(there), np.int64),) * 2
    length, start, behind = np.count_nonzero(there, axis=1), there.argmax(1), there[:, ::-1].argmax(1)
    gaps = (length > 0) & (start + length + behind < there.shape[1])
    if gaps.any():
        raise checks.InvalidInput(
            f"present of sample {gaps.argmax()} has a gap: it must be one run of tokens, observations included, as in "
            "the attention mask; response_mask is something else"
        )
    return start, length


def _left_aligned(ids: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    aligned = np.empty_like(ids)
    for row, (first, count) in enumerate(zip(start.tolist(), length.tolist(), strict=True)):
        aligned[row, :count] = ids[row, first : first + count]
    return aligned


def _sorted_rows(ids: np.ndarray, length: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows with a token, in an order that keeps common prefixes together, and what neighbours share.

    The second is the number of tokens that a row has in common with the row before it in the order, 0 for the first of
    a group.
    """
    order = np.argsort(group, kind="stable")
    order = order[length[order] > 0]
    shared = np.zeros(len(order), np.int64)
    # Whether a row is equal, so far, to the one before it.
    tied = np.zeros(len(order), bool)
    tied[1:] = group[order[1:]] == group[order[:-1]]
    column, width = 0, FIRST_COLUMNS
    while len(places := _undecided(tied, length[order], column)):
        rows, tie_number = order[places], np.cumsum(~tied[places])
        width = min(width, max(FIRST_COLUMNS, BLOCK // len(rows)), int(length[rows].max()) - column)
        keys = _keys(ids, rows, tie_number, length[rows], column, width)
        by_bytes = np.argsort(keys.view(np.dtype((np.void, keys.strides[0])))[:, 0], kind="stable")
        order[places], keys = rows[by_bytes], keys[by_bytes]
        differs = keys[1:] != keys[:-1]
        first = differs.argmax(1)
        equal = ~differs[np.arange(len(first)), first]
        shared[places[1:]] += np.where(equal, width, np.maximum(first - 1, 0))
        tied[places[1:]] = equal
        column, width = column + width, width * GROWTH
    shared = np.minimum(shared, length[order])
    return order, shared


def _undecided(tied: np.ndarray, length: np.ndarray, column: int) -> np.ndarray:
    """Returns the places of rows that tie with a neighbour, where one of those that tie goes on at the column."""
    begins = np.flatnonzero(~tied)
    if not len(begins):
        return begins
    goes_on = np.maximum.reduceat(length, begins) > column
    several = np.diff(begins, append=len(tied)) > 1
    return np.flatnonzero(np.repeat(goes_on & several, np.diff(begins, append=len(tied))))


def _keys(
    ids: np.ndarray, rows: np.ndarray, tie_number: np.ndarray, length: np.ndarray, column: int, width: int
) -> np.ndarray:
    """Returns, for each row, the number of its tie and its tokens from the column on, whose bytes are to be sorted."""
    keys = np.empty((len(rows), 1 + width), np.int64)
    # The first byte weighs most, so that ties stay where they are.
    keys[:, 0] = tie_number.astype(">i8").view(np.int64)
    keys[:, 1:] = ids[rows, column : column + width]
    if length.min() < column + width:
        keys[:, 1:][np.arange(column, column + width) >= length[:, None]] = NO_TOKEN
    return keys


def _nodes(shared: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """Yields the rows of `ProcessSets.steps`, the nodes of a tree, of what neighbours in the order share."""
    open_nodes = [(0, 0)]
    for place, depth in enumerate([*shared[1:], 0], start=1):
        first = place - 1
        while open_nodes[-1][0] > depth:
            end, first = open_nodes.pop()
            yield first, place, max(open_nodes[-1][0], depth), end
        if open_nodes[-1][0] < depth:
            open_nodes.append((depth, first))


def _copies(order: np.ndarray, length: np.ndarray, shared: np.ndarray) -> np.ndarray:
    ends = length[order]
    again = (shared == ends) & (shared == np.roll(ends, 1))
    kind = np.cumsum(~again)
    copies = np.zeros(len(length), np.int64)
    copies[order] = np.bincount(kind, minlength=1)[kind]
    return copies
