"""Puts numbers per token of one micro-batch into verl's metrics, so that micro-batches and ranks add up as said."""

from typing import Any

import torch
from torch import Tensor

from frpo_verl.masking import zero_where_masked


def token_mean(values: Tensor, valid: Tensor, tokens: int | None, ranks: int) -> Any:
    """Returns this micro-batch's share of the mini-batch's token mean, over all ranks where the host counts them.

    The sum is in float64. With V1's trainer verl counts before rejection sampling takes tokens out, elsewhere after.

    Args:
        values: (bs, length).
        valid: True for the tokens that count.
        tokens: the mini-batch's valid tokens on all ranks, `batch_num_tokens`; None where the host does not count.
        ranks: how many ranks share the mini-batch, `dp_size`.

    Returns:
        verl's Metric.
    """
    from verl.utils.metric import AggregationType, Metric

    total = zero_where_masked(values, valid).sum(dtype=torch.float64)
    if tokens is None:
        return Metric(value=total / valid.sum().clamp(min=1), aggregation=AggregationType.MEAN)
    return Metric(value=total / tokens * ranks, aggregation=AggregationType.SUM)


def largest(values: Tensor, valid: Tensor) -> Any:
    """Returns verl's Metric of the largest of values that are not negative, 0 where no token is valid.

    The largest of micro-batches and ranks is the largest; verl then takes the largest of mini-batches by the metric's
    name, where it has "max" in it.
    """
    from verl.utils.metric import AggregationType, Metric

    return Metric(value=zero_where_masked(values, valid).max(), aggregation=AggregationType.MAX)
