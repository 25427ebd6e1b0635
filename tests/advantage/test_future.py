import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import return_to_go as return_to_go_oracle
from oracles import reverse_kl_return_to_go

from frpo_verl.advantage import return_to_go
from frpo_verl.divergences import BY_NAME, REVERSE_KL, Generator

pytestmark = pytest.mark.filterwarnings("error")

# A generator whose local and future parts differ, so that mixing them up shows.
UNEVEN = Generator("uneven", local=lambda delta: 3 * delta, future=torch.square)

# float64 sums of up to 12 numbers of size up to 20
EXACT = {"rtol": 0, "atol": 1e-12}


@st.composite
def log_ratios_and_masks(draw):
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    number, flag = st.floats(-20, 20, allow_nan=False, width=64), st.booleans()
    delta = draw(st.lists(st.lists(number, min_size=length, max_size=length), min_size=rows, max_size=rows))
    mask = draw(st.lists(st.lists(flag, min_size=length, max_size=length), min_size=rows, max_size=rows))
    return torch.tensor(delta, dtype=torch.float64), torch.tensor(mask)


def test_golden_with_a_tool_span_in_the_middle():
    delta = torch.tensor([[1.0, 2.0, 4.0, 8.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True]])
    # 8 at the end; 4 + 8; the tool token counts nothing and gets nothing; 1 + 4 + 8
    assert return_to_go(delta, mask, REVERSE_KL).tolist() == [[13.0, 0.0, 12.0, 8.0]]


def test_golden_of_the_general_form():
    delta = torch.tensor([[1.0, 2.0, 4.0, 8.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True]])
    # 3·8; 3·4 + 64; 0; 3·1 + 16 + 64
    assert return_to_go(delta, mask, UNEVEN).tolist() == [[83.0, 0.0, 76.0, 24.0]]


@given(log_ratios_and_masks())
def test_reverse_kl_equals_the_definition_written_as_a_loop(case):
    delta, mask = case
    expected = torch.tensor(reverse_kl_return_to_go(delta.tolist(), mask.tolist()), dtype=torch.float64)
    assert torch.allclose(return_to_go(delta, mask, REVERSE_KL), expected.reshape(delta.shape), **EXACT)


@given(log_ratios_and_masks())
def test_the_general_form_equals_the_theorem_written_as_a_loop(case):
    delta, mask = case
    rows = return_to_go_oracle(delta.tolist(), mask.tolist(), lambda d: 3 * d, lambda d: d * d)
    # squares of up to 20 sum to up to 4800
    expected = torch.tensor(rows, dtype=torch.float64).reshape(delta.shape)
    assert torch.allclose(return_to_go(delta, mask, UNEVEN), expected, rtol=1e-14, atol=1e-11)


@given(log_ratios_and_masks(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_masked_slots_may_hold_anything(case, poison):
    delta, mask = case
    poisoned = torch.where(mask, delta, poison)
    assert torch.equal(return_to_go(poisoned, mask, UNEVEN), return_to_go(delta, mask, UNEVEN))


@given(log_ratios_and_masks())
def test_a_mask_equals_slicing(case):
    delta, mask = case
    result = return_to_go(delta, mask, UNEVEN)
    for row in range(len(delta)):
        sliced = delta[row][mask[row]][None]
        alone = return_to_go(sliced, torch.ones_like(sliced, dtype=torch.bool), UNEVEN)[0]
        assert torch.allclose(result[row][mask[row]], alone, rtol=1e-14, atol=1e-11)


@given(log_ratios_and_masks(), st.integers(0, 3), st.integers(0, 3))
def test_padding_on_either_side_changes_nothing(case, left, right):
    delta, mask = case
    padded = torch.nn.functional.pad(delta, (left, right), value=math.nan)
    padded_mask = torch.nn.functional.pad(mask, (left, right), value=False)
    inner = slice(left, left + delta.shape[1])
    result = return_to_go(padded, padded_mask, UNEVEN)[:, inner]
    assert torch.allclose(result, return_to_go(delta, mask, UNEVEN), rtol=1e-14, atol=1e-11)


def test_no_gradient_comes_out():
    delta = torch.randn(2, 3, requires_grad=True)
    assert not return_to_go(delta, torch.ones(2, 3, dtype=torch.bool), REVERSE_KL).requires_grad


def test_inputs_are_left_as_they_were():
    delta, mask = torch.randn(2, 3), torch.tensor([[True, False, True], [False, True, True]])
    kept = delta.clone(), mask.clone()
    return_to_go(delta, mask, REVERSE_KL)
    assert torch.equal(delta, kept[0])
    assert torch.equal(mask, kept[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single_precision(dtype):
    delta = torch.full((1, 8192), 2.0**-6, dtype=dtype)
    result = return_to_go(delta, torch.ones(1, 8192, dtype=torch.bool), REVERSE_KL)
    assert result.dtype == torch.float32
    # in bfloat16 the sum would stop growing at 4
    assert result[0, 0].item() == 128.0


def test_single_precision_stays_within_rounding_over_a_long_response():
    delta = torch.randn(4, 32768)
    mask = torch.ones(4, 32768, dtype=torch.bool)
    exact = return_to_go(delta.double(), mask, REVERSE_KL)
    # a sequential float32 sum of 32k numbers of size 1 and partial sums of size 200: 2**-24 · 200 · sqrt(32768) ≈ 2e-3
    assert (return_to_go(delta, mask, REVERSE_KL) - exact).abs().max() < 4e-3


@pytest.mark.parametrize("generator", set(BY_NAME.values()), ids=lambda generator: generator.name)
def test_equal_policies_give_zero(generator):
    assert not return_to_go(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), generator).any()
