import math

import pytest
import torch
from batches import log_ratios_and_masks, way  # noqa: F401
from hypothesis import HealthCheck, given, settings
from oracles import return_to_go as return_to_go_oracle

from frpo_verl.advantage import regularise, regularise_batch, return_to_go
from frpo_verl.checks import InvalidInput
from frpo_verl.divergences import BY_NAME, REVERSE_KL, Generator

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("way")]

UNEVEN = Generator("uneven", local=lambda delta: 3 * delta, future=torch.square)


def test_golden():
    log_prob = torch.tensor([[-1.0, 9.0, -2.0]], dtype=torch.float64)
    reference = torch.tensor([[-3.0, 9.0, -6.0]], dtype=torch.float64)
    done = regularise_batch(torch.tensor([10.0]).double(), log_prob, reference, torch.tensor([[1, 0, 1]]), 0.5)
    # δ = 2 and 4, reg = 6 and 4
    assert done.advantages.tolist() == [[7.0, 0.0, 8.0]]
    assert done.outcomes.tolist() == [[10.0, 0.0, 10.0]]
    assert done.sums.tolist() == [[6.0, 10.0, 52.0]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(log_ratios_and_masks())
def test_the_sums_equal_the_definition_written_as_a_loop(case):
    delta, mask = case
    done = regularise_batch(torch.zeros(len(delta)).double(), delta, torch.zeros_like(delta), mask, 1.0, UNEVEN)
    reg = return_to_go_oracle(delta.tolist(), mask.tolist(), lambda d: 3 * d, lambda d: d * d)
    future = [sum(d * d for d, valid in zip(*row, strict=True) if valid) for row in zip(delta, mask, strict=True)]
    expected = [[float(f), sum(row), sum(value * value for value in row)] for f, row in zip(future, reg, strict=True)]
    # sums of squares of up to 4800
    assert torch.allclose(done.sums, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-9)


def test_it_is_the_composition_of_the_parts(generator):
    log_prob, reference = torch.randn(2, 6, 9, dtype=torch.float64)
    outcome, mask = torch.randn(6, dtype=torch.float64), torch.rand(6, 9) > 0.4
    done = regularise_batch(outcome, log_prob, reference, mask, 0.3, generator)
    parts = regularise(outcome, return_to_go(log_prob - reference, mask, generator), mask, 0.3)
    assert torch.allclose(done.advantages, parts, rtol=1e-13, atol=1e-13)
    assert torch.equal(done.outcomes, torch.where(mask, outcome[:, None], 0.0))


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_masked_slots_may_hold_anything_and_valid_ones_are_named(generator, poison):
    log_prob, reference = torch.randn(2, 4, 5, dtype=torch.float64)
    outcome, mask = torch.randn(4, dtype=torch.float64), torch.rand(4, 5) > 0.4
    mask[2, 3] = True
    expected = regularise_batch(outcome, log_prob, reference, mask, 0.3, generator)
    spoilt = torch.where(mask, log_prob, poison)
    for one, other in zip(regularise_batch(outcome, spoilt, reference, mask, 0.3, generator), expected, strict=True):
        assert torch.equal(one, other)
    spoilt[2, 3] = poison
    with pytest.raises(InvalidInput, match=f"log_ratio of sample 2 at token 3 is {poison:g} .* the first of 1: "):
        regularise_batch(outcome, spoilt, reference, mask, 0.3, generator)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_log_probs_are_subtracted_in_single_precision(dtype):
    log_prob, reference = (-20 * torch.rand(2, 3, 50)).to(dtype)
    mask, outcome = torch.ones(3, 50, dtype=torch.bool), torch.zeros(3)
    exact = regularise_batch(outcome, log_prob.float(), reference.float(), mask, 1.0)
    half = regularise_batch(outcome, log_prob, reference, mask, 1.0)
    assert half.advantages.dtype == torch.float32
    assert torch.equal(half.advantages, exact.advantages)


def test_a_batch_of_many_blocks(generator):
    log_prob, reference = torch.randn(2, 300, 2000, dtype=torch.float64)
    mask, outcome = torch.rand(300, 2000) > 0.3, torch.randn(300, dtype=torch.float64)
    done = regularise_batch(outcome, log_prob, reference, mask, 0.1, generator)
    for rows in (slice(0, 1), slice(150, 152), slice(299, 300)):
        alone = regularise_batch(outcome[rows], log_prob[rows], reference[rows], mask[rows], 0.1, generator)
        for one, other in zip(done, alone, strict=True):
            assert torch.allclose(one[rows], other, rtol=1e-12, atol=1e-9)


def test_an_overflow_is_said():
    log_prob = torch.full((1, 200_000), -80.0)
    with pytest.raises(InvalidInput, match="the divergence 'forward KL' of a response overflows torch.float32: "):
        mask = torch.ones_like(log_prob, dtype=torch.bool)
        regularise_batch(torch.zeros(1), log_prob, torch.zeros_like(log_prob), mask, 1.0, BY_NAME["forward_kl"])


def test_a_coefficient_that_overflows_is_noticed():
    log_prob = torch.full((1, 3), 1e36)
    with pytest.raises(InvalidInput, match="overflows torch.float32"):
        regularise_batch(torch.zeros(1), log_prob, torch.zeros(1, 3), torch.ones(1, 3), 1e3)


def test_inputs_are_left_as_they_were():
    log_prob, reference = torch.randn(2, 2, 3)
    kept = log_prob.clone(), reference.clone()
    done = regularise_batch(torch.zeros(2), log_prob, reference, torch.ones(2, 3), 1.0, REVERSE_KL)
    done.advantages.fill_(5)
    assert torch.equal(log_prob, kept[0])
    assert torch.equal(reference, kept[1])
