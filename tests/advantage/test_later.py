import math

import pytest
import torch
from batches import log_ratios_and_masks
from hypothesis import given
from hypothesis import strategies as st
from regulariser_oracles import discounted_return_to_go, horizon_return_to_go

from frpo_verl.advantage import discounted, undiscounted, within

pytestmark = pytest.mark.filterwarnings("error")

# float64 sums of up to 12 numbers of size up to 20
EXACT = {"rtol": 0, "atol": 1e-12}


def nothing(delta: float) -> float:
    return 0.0


def itself(delta: float) -> float:
    return delta


def masked(case) -> tuple[torch.Tensor, torch.Tensor]:
    delta, mask = case
    return torch.where(mask, delta, 0.0), mask


def test_golden():
    values, mask = torch.tensor([[1.0, 0.0, 2.0, 4.0]]), torch.tensor([[True, False, True, True]])
    assert undiscounted(values, mask).tolist() == [[6.0, 6.0, 4.0, 0.0]]
    # the masked token is no distance: 2/2 + 4/4, 4/2, 0; masked slots hold nothing here
    assert discounted(0.5)(values, mask).tolist() == [[2.0, 0.0, 2.0, 0.0]]
    assert within(1)(values, mask).tolist() == [[2.0, 0.0, 4.0, 0.0]]


@given(log_ratios_and_masks(), st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.99, 1.0]))
def test_a_discount_equals_the_definition_written_as_a_loop(case, discount):
    values, mask = masked(case)
    expected = discounted_return_to_go(values.tolist(), mask.tolist(), nothing, itself, discount)
    result = torch.where(mask, discounted(discount)(values, mask), 0.0)
    assert torch.allclose(result, torch.tensor(expected, dtype=torch.float64).reshape(values.shape), **EXACT)


@given(log_ratios_and_masks(), st.integers(0, 14))
def test_a_horizon_equals_the_definition_written_as_a_loop(case, horizon):
    values, mask = masked(case)
    expected = horizon_return_to_go(values.tolist(), mask.tolist(), nothing, itself, horizon)
    result = torch.where(mask, within(horizon)(values, mask), 0.0)
    assert torch.allclose(result, torch.tensor(expected, dtype=torch.float64).reshape(values.shape), **EXACT)


@given(log_ratios_and_masks())
def test_no_discount_and_no_horizon_are_the_theorem(case):
    values, mask = masked(case)
    whole = torch.where(mask, undiscounted(values, mask), 0.0)
    assert torch.allclose(discounted(1.0)(values, mask), whole, **EXACT)
    assert torch.allclose(within(values.shape[1])(values, mask), whole, **EXACT)
    assert not discounted(0.0)(values, mask).any()
    assert not within(0)(values, mask).any()


def test_a_long_discounted_sum_neither_overflows_nor_vanishes():
    # a geometric series: γ/(1 − γ) for a constant 1, however far γ^t has underflowed
    values, mask = torch.ones(1, 20_000), torch.ones(1, 20_000, dtype=torch.bool)
    result = discounted(0.9)(values, mask)
    assert result[0, [0, 10_000]].tolist() == pytest.approx([9.0, 9.0], rel=1e-5)
    assert result[0, -2:].tolist() == pytest.approx([0.9, 0.0])


@pytest.mark.parametrize("discount", [-0.1, 1.1, math.nan])
def test_a_discount_outside_of_its_range_is_refused(discount):
    with pytest.raises(ValueError, match="discount .*: it must lie between 0 and 1, and 1 is the true gradient"):
        discounted(discount)


def test_a_negative_horizon_is_refused():
    with pytest.raises(ValueError, match="horizon -1: it must be a number of tokens, 0 or more"):
        within(-1)
