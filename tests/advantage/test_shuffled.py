import math

import pytest
import torch
from batches import log_ratios_and_masks
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.advantage import shuffle_tokens

pytestmark = pytest.mark.filterwarnings("error")


@given(log_ratios_and_masks(), st.integers(0, 2**32))
def test_every_response_keeps_its_values_and_its_mask(case, seed):
    delta, mask = case
    shuffled = shuffle_tokens(delta.where(mask, math.nan), mask, torch.Generator().manual_seed(seed))
    assert not shuffled[~mask].any()
    for before, after, valid in zip(delta, shuffled, mask, strict=True):
        assert sorted(before[valid].tolist()) == sorted(after[valid].tolist())


def test_the_order_is_uniform():
    # 3! = 6 orders of the three valid tokens, each expected 1000 times with a standard deviation of 29
    delta = torch.tensor([[1.0, 0.0, 2.0, 3.0]]).expand(6000, 4)
    mask = torch.tensor([[True, False, True, True]]).expand(6000, 4)
    shuffled = shuffle_tokens(delta, mask, torch.Generator().manual_seed(0))
    orders, counts = torch.unique(shuffled, dim=0, return_counts=True)
    assert len(orders) == 6
    assert counts.min() > 1000 - 5 * 29
    assert counts.max() < 1000 + 5 * 29


def test_half_precision_is_kept():
    delta, mask = torch.randn(2, 50).bfloat16(), torch.ones(2, 50, dtype=torch.bool)
    shuffled = shuffle_tokens(delta, mask, torch.Generator().manual_seed(0))
    assert shuffled.dtype == torch.bfloat16
    assert torch.equal(shuffled.sort().values, delta.sort().values)


def test_a_seed_fixes_the_order():
    delta, mask = torch.randn(2, 50), torch.ones(2, 50, dtype=torch.bool)
    first, again, other = (shuffle_tokens(delta, mask, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
