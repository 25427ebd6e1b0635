"""Counts, for each token of a response, the responses of its group that share the prefix up to that token."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.rows import empty

FIRST_COLUMNS = 64
"""Tokens that are compared at first: sampled responses have seldom more in common."""

GROWTH = 4
"""Responses that still tie are compared that many times as far in the next round."""

BLOCK = 2**20
"""Tokens in a round, so that it stays in the cache: 8 MB."""

NO_TOKEN = np.iinfo(np.int64).min
"""Stands after a response's last token, so that to end is to differ from what goes on; not a token id."""


class ProcessSets(NamedTuple):
    """The prefix tree of each group, as numbers for its tokens and responses.

    Attributes:
        sizes: (bs, length), int32: |λ(i,t)| ≥ 1; 0 where there is no token.
        reach: (bs,), int64: the column behind a response's last token with |λ| > 1, 0 if there is none.
        copies: (bs,), int32: how many responses of the group are this one, itself included; 0 for one without a token.
    """

    sizes: Tensor
    reach: Tensor
    copies: Tensor


def count_process_sets(
    token_ids: Int[Tensor, "bs length"],
    present: Shaped[Tensor, "bs length"],
    group: Int[Tensor, " bs"],
) -> ProcessSets:
    """Counts the responses that share each prefix, exactly, in O(k·T·log k) time and O(k·T) memory a group.

        |λ(i,t)| = #{ j in i's group : y⁽ʲ⁾_{≤t} = y⁽ⁱ⁾_{≤t} },   the token t itself included

    A response that ends where another goes on differs from it there. End tokens and observations are tokens like any
    other. Rows of a group may be anywhere in the batch.

    Rows are sorted so that those with a common prefix stand together; what neighbours have in common then gives every
    count. Only responses that tie are compared further than the first tokens.

    See "GRPO is Secretly a Process Reward Model" (https://arxiv.org/abs/2509.21154), section 3 and eq. 9.

    Args:
        token_ids: the tokens of each response, anything where there is none.
        present: nonzero where a token exists, observations included: one run in each row, padding on either side.
        group: the group of each response, any integers.

    Returns:
        Counts on the device of `present`.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a row's tokens are not one run.
    """
    checks.token_tree(token_ids, present, group)
    present = present.bool()
    ids, there = token_ids.cpu().numpy(), present.cpu().numpy()
    start, length = _runs(there)
    if start.any():
        ids = _left_aligned(ids, start, length)
    order, shared = _sorted_rows(ids, length, group.cpu().numpy())
    sizes = empty(present.shape, torch.int32, torch.device("cpu"))
    sizes.copy_(present)
    _write(sizes.numpy(), order, start, shared)
    reach, copies = _reach(order, start, shared), _copies(order, length, shared)
    return ProcessSets(*(counts.to(present.device) for counts in (sizes, *map(torch.from_numpy, (reach, copies)))))


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
    """Yields the tree's nodes of two rows and more: from which place to which, from which token to which."""
    open_nodes = [(0, 0)]
    for place, depth in enumerate([*shared[1:], 0], start=1):
        first = place - 1
        while open_nodes[-1][0] > depth:
            end, first = open_nodes.pop()
            yield first, place, max(open_nodes[-1][0], depth), end
        if open_nodes[-1][0] < depth:
            open_nodes.append((depth, first))


def _write(sizes: np.ndarray, order: np.ndarray, start: np.ndarray, shared: np.ndarray) -> None:
    rows, start = order.tolist(), start.tolist()
    for first, last, begin, end in _nodes(shared.tolist()):
        for row in rows[first:last]:
            sizes[row, start[row] + begin : start[row] + end] = last - first


def _reach(order: np.ndarray, start: np.ndarray, shared: np.ndarray) -> np.ndarray:
    most = np.maximum(shared, np.append(shared[1:], 0))
    reach = np.zeros(len(start), np.int64)
    reach[order] = np.where(most > 0, start[order] + most, 0)
    return reach


def _copies(order: np.ndarray, length: np.ndarray, shared: np.ndarray) -> np.ndarray:
    ends = length[order]
    again = (shared == ends) & (shared == np.roll(ends, 1))
    kind = np.cumsum(~again)
    copies = np.zeros(len(length), np.int32)
    copies[order] = np.bincount(kind, minlength=1)[kind]
    return copies
