"""Works on a batch a block of rows at a time, so that temporaries stay in the cache.

Ten elementwise passes over a batch of 40 MB are ten trips to memory; over a block of 1 MB they are one.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

CPU_BLOCK = 2**17
"""Slots in a block on the CPU: half a MB of float32, so that a few temporaries share the second-level cache."""

DEVICE_BLOCK = 2**24
"""Slots in a block on an accelerator: enough to fill it, few enough that temporaries stay small next to a batch."""


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns a new tensor, not initialised, whose first touch is cheap.

    On the CPU the memory is numpy's, which asks for huge pages as torch does not: a copy into new memory then takes
    about half the time (`make benchmark`).
    """
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, str(dtype).removeprefix("torch.")))
    return torch.empty(shape, dtype=dtype, device=device)


def row_blocks(like: Tensor) -> Iterator[slice]:
    """Yields slices of a batch's rows, in order, that cover it once; each has at least one row for each thread."""
    rows, length = like.shape
    step = _rows_per_block(length, like.device)
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def over_rows(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Applies a function of (rows, length) tensors, which treats every row by itself, block by block.

    Args:
        function: takes one tensor for each of `tensors`, with fewer rows, and returns (rows, length) in float32 or
            float64.
        *tensors: (bs, length) for values per token, one of them first; (bs,) or (bs, 1) for values per row.

    Returns:
        (bs, length).
    """
    first = tensors[0]
    blocks = list(row_blocks(first))
    if len(blocks) <= 1:
        return function(*tensors)
    result = None
    for rows in blocks:
        block = function(*(tensor[rows] for tensor in tensors))
        if result is None:
            result = empty(first.shape, block.dtype, block.device)
        result[rows] = block
    return result


def _rows_per_block(length: int, device: torch.device) -> int:
    if device.type == "cpu":
        return max(torch.get_num_threads(), CPU_BLOCK // max(1, length))
    return max(1, DEVICE_BLOCK // max(1, length))
