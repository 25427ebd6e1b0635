"""Works on a batch a block of rows at a time, so that temporaries stay in the cache.

Ten elementwise passes over a batch of 40 MB are ten trips to memory; over a block of 1 MB they are one.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

CPU_BLOCK = 2**17
"""Slots in a block on the CPU: half a MB of float32, so that a few temporaries share the second-level cache."""

DEVICE_BLOCKS = 8
"""Blocks of a batch on an accelerator, so that eight temporaries of a block take no more than one result."""

DEVICE_BLOCK, LEAST_DEVICE_BLOCK = 2**24, 2**20
"""Slots in such a block, at most and at least: more fill no accelerator better, fewer are done before the next."""


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns a new tensor, not initialised, whose first touch is cheap.

    On the CPU the memory is numpy's, which asks for huge pages as torch does not: a copy into new memory then takes
    about half the time (`make benchmark`).
    """
    if on_host(device):
        return torch.from_numpy(np.empty(shape, str(dtype).removeprefix("torch.")))
    return torch.empty(shape, dtype=dtype, device=device)


def on_host(device: torch.device) -> bool:
    """Tells whether tensors there are the CPU's."""
    return device.type == "cpu"


def row_blocks(like: Tensor) -> Iterator[slice]:
    """Yields slices of a batch's rows, in order, that cover it once; each has at least one row for each thread."""
    rows, length = like.shape
    step = _rows_per_block(rows, length, like.device)
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def over_rows(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Applies a function of (rows, length) tensors, which treats every row by itself, block by block.

    Args:
        function: takes one tensor for each of `tensors`, with fewer rows, and returns (rows, length).
        *tensors: (bs, length) for values per token, one of them first; (bs,) or (bs, 1) for values per row.

    Returns:
        (bs, length), in float32 or the better dtype of the first tensor.
    """
    first = tensors[0]
    result = empty(first.shape, torch.promote_types(first.dtype, torch.float32), first.device)
    for rows in row_blocks(first):
        result[rows] = function(*(tensor[rows] for tensor in tensors))
    return result


def _rows_per_block(rows: int, length: int, device: torch.device) -> int:
    if on_host(device):
        return max(torch.get_num_threads(), CPU_BLOCK // max(1, length))
    slots = min(DEVICE_BLOCK, max(LEAST_DEVICE_BLOCK, rows * length // DEVICE_BLOCKS))
    return max(1, slots // max(1, length))
