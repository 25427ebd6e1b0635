"""Says which columns of the vocabulary a process holds, and how it hears of the others."""

from collections.abc import Callable
from typing import NamedTuple

import torch.distributed as dist
from torch import Tensor

Reduce = Callable[[Tensor], Tensor]
"""(of one process, per token) → the same over all processes that share the vocabulary, in a new tensor."""


class Part(NamedTuple):
    """One of several equal parts of the vocabulary, as tensor parallel ranks hold them.

    Attributes:
        index: which part: the first column is that of token `index` · width.
        count: how many parts there are.
        maximum: the largest over all parts, element by element.
        total: the sum over all parts, element by element.
    """

    index: int
    count: int
    maximum: Reduce
    total: Reduce


def _alone(values: Tensor) -> Tensor:
    return values


WHOLE = Part(0, 1, _alone, _alone)
"""The vocabulary in one piece."""


def part_of(group: dist.ProcessGroup) -> Part:
    """Makes the part of this process in a group whose ranks hold the columns in their order.

    Args:
        group: for instance Megatron's tensor parallel group.

    Returns:
        The part, whose two reductions are all-reduces over the group.
    """

    def maximum(values: Tensor) -> Tensor:
        return _reduced(values, dist.ReduceOp.MAX, group)

    def total(values: Tensor) -> Tensor:
        return _reduced(values, dist.ReduceOp.SUM, group)

    return Part(dist.get_rank(group), dist.get_world_size(group), maximum, total)


def _reduced(values: Tensor, how: dist.ReduceOp.RedOpType, group: dist.ProcessGroup) -> Tensor:
    result = values.clone()
    dist.all_reduce(result, how, group=group)
    return result
