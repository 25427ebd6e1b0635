import math

import pytest
import torch
from batches import log_ratios_and_masks
from hypothesis import given
from hypothesis import strategies as st
from regulariser_oracles import value_at_step_end as at_end_oracle
from regulariser_oracles import value_at_step_start as at_start_oracle

from frpo_verl.advantage import ends_by_length, ends_by_separator, value_at_step_end, value_at_step_start
from frpo_verl.checks import InvalidInput

pytestmark = pytest.mark.filterwarnings("error")


def test_goldens():
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    mask = torch.tensor([[True, True, False, True, True, False]])
    ends = torch.tensor([[False, True, False, False, False, False]])
    # steps {1, 2} and {4, 5}: the response's last token ends a step of itself
    assert value_at_step_end(values, mask, ends).tolist() == [[2.0, 2.0, 0.0, 5.0, 5.0, 0.0]]
    assert value_at_step_start(values, mask, ends).tolist() == [[1.0, 1.0, 0.0, 4.0, 4.0, 0.0]]


def test_fixed_steps_count_valid_tokens():
    mask = torch.tensor([[True, False, True, True, True, True]])
    assert ends_by_length(mask, 2).tolist() == [[False, False, True, False, True, False]]


def test_separators_count_where_the_policy_produced_them():
    responses = torch.tensor([[7, 3, 7, 9]])
    mask = torch.tensor([[True, True, False, True]])
    assert ends_by_separator(responses, mask, 7).tolist() == [[True, False, False, False]]


@given(log_ratios_and_masks(), st.randoms())
def test_both_equal_the_definition_written_as_a_loop(case, random):
    values, mask = case
    ends = torch.tensor([[random.random() < 0.4 for _ in row] for row in values]).reshape(values.shape)
    for function, oracle in ((value_at_step_end, at_end_oracle), (value_at_step_start, at_start_oracle)):
        expected = torch.tensor(oracle(values.tolist(), mask.tolist(), ends.tolist()), dtype=torch.float64)
        assert torch.equal(function(values, mask, ends), expected.reshape(values.shape))


def test_steps_of_one_token_change_nothing():
    values, mask = torch.randn(3, 6), torch.rand(3, 6) > 0.3
    kept = torch.where(mask, values, 0.0)
    ends = ends_by_length(mask, 1)
    assert torch.equal(value_at_step_end(values, mask, ends), kept)
    assert torch.equal(value_at_step_start(values, mask, ends), kept)


def test_masked_slots_may_hold_anything():
    values, mask = torch.randn(3, 6), torch.rand(3, 6) > 0.3
    ends = torch.rand(3, 6) > 0.5
    for function in (value_at_step_end, value_at_step_start):
        assert torch.equal(function(values.where(mask, math.nan), mask, ends), function(values, mask, ends))


@pytest.mark.parametrize("length", [0, -3])
def test_a_step_without_tokens_is_refused(length):
    with pytest.raises(InvalidInput, match=f"step length {length}: it must be a number of tokens, 1 or more"):
        ends_by_length(torch.ones(1, 2, dtype=torch.bool), length)
