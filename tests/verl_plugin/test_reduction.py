"""Numbers per token as verl's metrics."""

import math

import pytest
import torch

from frpo_verl.verl_plugin.reduction import largest, token_mean

pytest.importorskip("verl")

VALUES = torch.tensor([[1.0, 5.0, math.nan], [2.0, math.inf, math.nan]])
VALID = torch.tensor([[True, True, False], [True, False, False]])
NONE = torch.zeros(2, 3, dtype=torch.bool)


def test_a_mean_is_this_micro_batchs_share_where_the_host_counts():
    # (1 + 5 + 2) / 20 tokens; verl then averages over 4 ranks
    assert token_mean(VALUES, VALID, 20, 4).aggregate() == pytest.approx(1.6)


def test_micro_batches_add_up_to_the_token_mean_over_all_ranks():
    # two ranks with six tokens between them: each rank's micro-batches add up, and ranks are averaged
    ranks = []
    for scale in (1.0, 10.0):
        metric = token_mean(scale * VALUES[:1], VALID[:1], 6, 2)
        metric.append(token_mean(scale * VALUES[1:], VALID[1:], 6, 2))
        ranks.append(metric.aggregate())
    assert sum(ranks) / 2 == pytest.approx((1 + 5 + 2 + 10 + 50 + 20) / 6)


def test_a_mean_is_its_own_where_the_host_does_not():
    assert token_mean(VALUES, VALID, None, 1).aggregate() == pytest.approx(8 / 3)
    assert token_mean(VALUES, NONE, None, 1).aggregate() == 0


def test_the_largest_is_that_of_valid_tokens_of_all_micro_batches():
    metric = largest(VALUES, VALID)
    assert metric.aggregate() == 5
    assert largest(VALUES, NONE).aggregate() == 0
    metric.append(largest(torch.full((2, 3), 7.0), VALID))
    metric.append(largest(VALUES, NONE))
    assert metric.aggregate() == 7
