import math

import pytest
import torch
from batches import log_ratios_and_masks
from divergence_oracles import reference_future, reference_local
from hypothesis import given
from hypothesis import strategies as st
from oracles import return_to_go as return_to_go_oracle
from oracles import reverse_kl_return_to_go
from textbook import key_of

from frpo_verl.advantage import discounted, return_to_go
from frpo_verl.checks import InvalidInput
from frpo_verl.divergences import BY_NAME, REVERSE_KL, Generator, from_f

pytestmark = pytest.mark.filterwarnings("error")

# A generator whose local and future parts differ, so that mixing them up shows.
UNEVEN = Generator("uneven", local=lambda delta: 3 * delta, future=torch.square)

# float64 sums of up to 12 numbers of size up to 20
EXACT = {"rtol": 0, "atol": 1e-12}


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


def test_golden_of_k3():
    delta = torch.tensor([[math.log(2), -math.log(2), math.log(4)]], dtype=torch.float64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    # u = ½, 2, ¼; k3 = u − 1 − log u; the local part is δ
    expected = [
        math.log(2) + (2 - 1 - math.log(2)) + (0.25 - 1 + math.log(4)),
        -math.log(2) + (0.25 - 1 + math.log(4)),
        math.log(4),
    ]
    assert return_to_go(delta, mask, BY_NAME["k3"])[0].tolist() == pytest.approx(expected, abs=1e-15)


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


def test_every_divergence_equals_the_theorem_in_sixty_digits(generator):
    key = key_of(generator)
    if key is None:
        pytest.skip("no textbook formula of it")
    delta, mask = torch.randn(4, 6, dtype=torch.float64), torch.rand(4, 6) > 0.3
    rows = return_to_go_oracle(
        delta.tolist(),
        mask.tolist(),
        lambda d: float(reference_local(key, d)),
        lambda d: float(reference_future(key, d)),
    )
    expected = torch.tensor(rows, dtype=torch.float64)
    # u³ reaches e^8 for δ = −2.7
    assert torch.allclose(return_to_go(delta, mask, generator), expected, rtol=1e-13, atol=1e-13)


@given(log_ratios_and_masks(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_masked_slots_may_hold_anything(case, poison):
    delta, mask = case
    poisoned = torch.where(mask, delta, poison)
    for generator in (UNEVEN, REVERSE_KL):
        assert torch.equal(return_to_go(poisoned, mask, generator), return_to_go(delta, mask, generator))


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


@given(log_ratios_and_masks(), st.randoms())
def test_rows_do_not_touch_each_other(case, random):
    delta, mask = case
    order = list(range(len(delta)))
    random.shuffle(order)
    whole = return_to_go(delta, mask, UNEVEN)
    found = [return_to_go(delta[order], mask[order], UNEVEN), whole[order]]
    found += [
        torch.cat([return_to_go(delta[rows], mask[rows], UNEVEN) for rows in (slice(0, 1), slice(1, None))]),
        whole,
    ]
    # On an accelerator the order in which a row is added up depends on how many there are.
    tolerance = 0.0 if delta.device.type == "cpu" else 1e-11
    assert torch.allclose(*found[:2], rtol=0, atol=tolerance)
    assert torch.allclose(*found[2:], rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32, torch.bfloat16])
def test_hosts_masks_of_other_dtypes_mean_the_same(dtype):
    delta, mask = torch.randn(3, 5), torch.rand(3, 5) > 0.5
    assert torch.equal(return_to_go(delta, mask.to(dtype), UNEVEN), return_to_go(delta, mask, UNEVEN))


def test_memory_that_is_not_contiguous():
    delta, mask = torch.randn(5, 8)[:, ::2], (torch.rand(4, 5) > 0.5).T
    expected = return_to_go(delta.contiguous(), mask.contiguous(), UNEVEN)
    assert torch.equal(return_to_go(delta, mask, UNEVEN), expected)


def test_a_batch_of_many_blocks(generator):
    # 300 × 2000 = 600,000 tokens are more than two blocks
    delta, mask = torch.randn(300, 2000, dtype=torch.float64), torch.rand(300, 2000) > 0.2
    result = return_to_go(delta, mask, generator)
    for row in (0, 131, 299):
        alone = return_to_go(delta[row : row + 1], mask[row : row + 1], generator)[0]
        assert torch.allclose(result[row], alone, rtol=1e-13, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(shape):
    empty = torch.zeros(shape)
    assert return_to_go(empty, empty.bool(), UNEVEN).shape == shape


def test_no_gradient_comes_out():
    delta = torch.randn(2, 3, requires_grad=True)
    assert not return_to_go(delta, torch.ones(2, 3, dtype=torch.bool), REVERSE_KL).requires_grad


def test_inputs_are_left_as_they_were(generator):
    delta, mask = torch.randn(2, 3), torch.tensor([[True, False, True], [False, True, True]])
    kept = delta.clone(), mask.clone()
    result = return_to_go(delta, mask, generator)
    result.fill_(7)
    assert torch.equal(delta, kept[0])
    assert torch.equal(mask, kept[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single_precision(dtype):
    delta = torch.full((1, 8192), 2.0**-6, dtype=dtype)
    result = return_to_go(delta, torch.ones(1, 8192, dtype=torch.bool), REVERSE_KL)
    assert result.dtype == torch.float32
    # in bfloat16 the sum would stop growing at 4
    assert result[0, 0].item() == 128.0


def test_single_precision_stays_within_rounding_over_128k_tokens():
    delta = torch.randn(2, 131072)
    mask = torch.ones(2, 131072, dtype=torch.bool)
    exact = return_to_go(delta.double(), mask, REVERSE_KL)
    # the sums run in float64, so what is left is one rounding of δ + rest, of size up to 1200: 2⁻²⁴ · 2048
    assert (return_to_go(delta, mask, REVERSE_KL) - exact).abs().max() < 2.5e-4


def test_one_extreme_token_does_not_wash_out_those_after_it_or_other_rows():
    delta = torch.full((2, 6), 0.5)
    delta[0, 2] = -80.0
    result = return_to_go(delta, torch.ones(2, 6, dtype=torch.bool), BY_NAME["forward_kl"])
    later = [1 - math.exp(-0.5) + n * -0.5 * math.exp(-0.5) for n in (2, 1, 0)]
    assert result[0, 3:].tolist() == pytest.approx(later, abs=1e-6)
    assert result[1, 3:].tolist() == pytest.approx(later, abs=1e-6)
    assert result[0, 0].item() == pytest.approx(80 * math.exp(80), rel=1e-5)


@pytest.mark.parametrize("delta", [-80.0, 80.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_largest_log_ratios_stay_finite(generator, delta, dtype):
    result = return_to_go(torch.full((2, 16), delta, dtype=dtype), torch.ones(2, 16, dtype=torch.bool), generator)
    assert torch.isfinite(result).all()


def test_equal_policies_give_zero(generator):
    assert not return_to_go(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), generator).any()


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_valid_token_that_is_not_finite_is_named(generator, poison):
    delta, mask = torch.zeros(5, 4), torch.ones(5, 4, dtype=torch.bool)
    delta[1, 0] = poison
    mask[1, 0] = False
    delta[3, 2] = delta[3, 3] = delta[4, 1] = poison
    with pytest.raises(InvalidInput, match=f"log_ratio of sample 3 at token 2 is {poison:g} .* the first of 3: "):
        return_to_go(delta, mask, generator)


def test_a_divergence_that_overflows_says_so():
    delta = torch.full((1, 200_000), -80.0)
    with pytest.raises(InvalidInput, match="the divergence 'forward KL' of a response overflows torch.float32: "):
        return_to_go(delta, torch.ones_like(delta, dtype=torch.bool), BY_NAME["forward_kl"])


def test_a_local_part_that_alone_is_not_finite_is_noticed():
    nasty = Generator("nasty", local=lambda delta: delta / (delta != 2), future=torch.zeros_like)
    with pytest.raises(InvalidInput, match="the divergence 'nasty' of a response overflows torch.float32: "):
        return_to_go(torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3, dtype=torch.bool), nasty)


def test_a_local_part_that_charges_equal_policies_is_refused():
    textbook = Generator("textbook", local=lambda delta: delta + 1, future=lambda delta: delta)
    with pytest.raises(InvalidInput, match="divergence 'textbook': the local part at δ = 0 is 1, and must be 0"):
        return_to_go(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), textbook)


def test_inference_mode_is_as_good():
    delta, mask = torch.randn(2, 3), torch.ones(2, 3, dtype=torch.bool)
    for generator in (REVERSE_KL, BY_NAME["k3"], from_f("made", lambda u: u * torch.log(u))):
        expected = return_to_go(delta, mask, generator)
        with torch.inference_mode():
            assert torch.equal(return_to_go(delta.clone(), mask.clone(), generator), expected)


def test_a_generator_that_charges_equal_policies_is_refused():
    wrong = Generator("wrong", local=lambda delta: delta, future=lambda delta: delta + 1)
    with pytest.raises(InvalidInput, match=r"divergence 'wrong': f\(1\) is 1, and must be 0"):
        return_to_go(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), wrong)


def test_another_sum_of_later_tokens_can_be_passed():
    delta = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    # 1 + ½·2 + ¼·4; 2 + ½·4; 4
    result = return_to_go(delta, torch.ones(1, 3, dtype=torch.bool), REVERSE_KL, discounted(0.5))
    assert result.tolist() == [[3.0, 4.0, 4.0]]
