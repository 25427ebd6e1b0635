import math

import pytest
import torch
from batches import log_ratios_and_masks, way  # noqa: F401
from hypothesis import HealthCheck, given, settings
from oracles import return_to_go as return_to_go_oracle
from torch import Tensor

from frpo_verl.advantage import (
    RegularisedBatch,
    Sums,
    Variant,
    divergence_to_go,
    regularise,
    regularise_batch,
    return_to_go,
)
from frpo_verl.checks import InvalidInput
from frpo_verl.divergences import BY_NAME, REVERSE_KL, Generator

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("way")]

UNEVEN = Generator("uneven", local=lambda delta: 3 * delta, future=torch.square)


def _parts(done: RegularisedBatch) -> tuple[Tensor, ...]:
    return done.advantages, *done.sums


def test_golden():
    log_prob = torch.tensor([[-1.0, 9.0, -2.0]], dtype=torch.float64)
    reference = torch.tensor([[-3.0, 9.0, -6.0]], dtype=torch.float64)
    done = regularise_batch(torch.tensor([10.0]).double(), log_prob, reference, torch.tensor([[1, 0, 1]]), 0.5)
    # δ = 2 and 4, reg = 6 and 4
    assert done.advantages.tolist() == [[7.0, 0.0, 8.0]]
    assert done.sums.divergence.tolist() == [6.0]
    assert (done.sums.term.tolist(), done.sums.term_square.tolist()) == ([10.0], [52.0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(log_ratios_and_masks())
def test_the_sums_equal_the_definition_written_as_a_loop(case):
    delta, mask = case
    outcome = torch.linspace(-50, 50, len(delta)).double()
    done = regularise_batch(outcome, delta, torch.zeros_like(delta), mask, 0.5, UNEVEN)
    rows, masks = delta.tolist(), mask.tolist()
    reg = return_to_go_oracle(rows, masks, lambda d: 3 * d, lambda d: d * d)
    for row, (own, of_row, valid) in enumerate(zip(outcome.tolist(), reg, masks, strict=True)):
        places = [t for t, counts in enumerate(valid) if counts]
        tenths = [0.0] * 10
        for n, t in enumerate(places):
            tenths[10 * n // len(places)] += of_row[t]
        expected = Sums(
            tokens=len(places),
            log_prob=sum(rows[row][t] for t in places),
            divergence=sum(rows[row][t] ** 2 for t in places),
            term=sum(of_row[t] for t in places),
            term_square=sum(of_row[t] ** 2 for t in places),
            outcome=own * len(places),
            outcome_square=own**2 * len(places),
            flips=sum(own * (own - 0.5 * of_row[t]) < 0 for t in places),
            tenths=tenths,
        )
        for found, wanted in zip(done.sums, expected, strict=True):
            # sums of squares of up to 4800
            assert found[row].tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-9)


def test_it_is_the_composition_of_the_parts(generator):
    log_prob, reference = torch.randn(2, 6, 9, dtype=torch.float64)
    outcome, mask = torch.randn(6, dtype=torch.float64), torch.rand(6, 9) > 0.4
    done = regularise_batch(outcome, log_prob, reference, mask, 0.3, generator)
    parts = regularise(outcome, return_to_go(log_prob - reference, mask, generator), mask, 0.3)
    assert torch.allclose(done.advantages, parts, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("changes", [{}, {"horizon": 2}, {"centring": "group", "scale": "length"}], ids=str)
@pytest.mark.parametrize("of_tokens", [False, True])
def test_every_variant_and_outcomes_of_tokens_are_the_composition_too(changes, of_tokens):
    log_prob, reference = torch.randn(2, 6, 9)
    outcome, mask, group = torch.randn(6), torch.rand(6, 9) > 0.4, torch.arange(6) // 3
    variant, k3 = Variant(**changes), BY_NAME["k3"]
    if of_tokens:
        outcome = outcome[:, None] + torch.randn(6, 9)
        outcome[~mask] = 7.0
    done = regularise_batch(outcome, log_prob, reference, mask, 0.3, k3, variant, group)
    reg = divergence_to_go(log_prob - reference, mask, k3, variant, group)
    before = outcome if of_tokens else torch.where(mask, outcome[:, None], 0.0)
    assert torch.allclose(done.advantages, torch.where(mask, before - 0.3 * reg, before), rtol=0, atol=1e-6)
    assert torch.allclose(done.sums.term, reg.double().sum(-1), rtol=0, atol=1e-5)
    assert torch.allclose(done.sums.outcome, torch.where(mask, before, 0.0).double().sum(-1), rtol=0, atol=1e-12)


def test_a_hosts_masked_slots_may_hold_anything_and_keep_it():
    outcome, mask = torch.tensor([[1.0, math.nan]]), torch.tensor([[1, 0]])
    done = regularise_batch(outcome, torch.ones(1, 2), torch.zeros(1, 2), mask, 0.5)
    assert done.advantages[0].tolist() == pytest.approx([0.5, math.nan], nan_ok=True)
    assert all(torch.isfinite(part).all() for part in done.sums)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32, torch.bfloat16])
def test_hosts_masks_of_other_dtypes_mean_the_same(dtype):
    log_prob, mask = torch.randn(3, 5), torch.rand(3, 5) > 0.5
    expected = regularise_batch(torch.ones(3), log_prob, torch.zeros(3, 5), mask, 1.0)
    found = regularise_batch(torch.ones(3), log_prob, torch.zeros(3, 5), mask.to(dtype), 1.0)
    assert all(torch.equal(one, other) for one, other in zip(_parts(found), _parts(expected), strict=True))


def test_memory_that_is_not_contiguous():
    log_prob, reference = torch.randn(2, 5, 8)[..., ::2]
    outcome, mask = torch.randn(10)[::2], (torch.rand(4, 5) > 0.5).T
    expected = regularise_batch(outcome.clone(), log_prob.contiguous(), reference.contiguous(), mask.contiguous(), 1.0)
    found = regularise_batch(outcome, log_prob, reference, mask, 1.0)
    assert all(torch.equal(one, other) for one, other in zip(_parts(found), _parts(expected), strict=True))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(shape):
    empty = torch.zeros(shape)
    done = regularise_batch(torch.zeros(shape[0]), empty, empty, empty.bool(), 1.0)
    assert done.advantages.shape == shape
    assert not any(part.any() for part in done.sums)


def test_single_precision_stays_within_rounding_over_128k_tokens():
    delta, mask = torch.randn(2, 131072), torch.ones(2, 131072, dtype=torch.bool)
    exact = regularise_batch(torch.zeros(2), delta.double(), torch.zeros_like(delta), mask, 1.0)
    done = regularise_batch(torch.zeros(2), delta, torch.zeros_like(delta), mask, 1.0)
    # the sums run in float64, so what is left is one rounding
    assert ((done.advantages - exact.advantages).abs() <= 1.0001 * 2**-24 * exact.advantages.abs()).all()


def test_only_reverse_kl_itself_is_taken_for_the_identity():
    clipping = Generator("clipping", local=lambda delta: delta, future=lambda delta: delta.clamp(-1, 1))
    delta = torch.tensor([[1.0, 80.0, 2.0]])
    done = regularise_batch(torch.zeros(1), delta, torch.zeros(1, 3), torch.ones(1, 3), 1.0, clipping)
    assert done.advantages.tolist() == [[-3.0, -81.0, -2.0]]


def test_a_local_part_that_alone_is_not_finite_is_noticed():
    nasty = Generator("nasty", local=lambda delta: delta / (delta != 2), future=torch.zeros_like)
    with pytest.raises(InvalidInput, match="the divergence 'nasty' of a response overflows torch.float32: "):
        regularise_batch(torch.zeros(1), torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2), torch.ones(1, 2), 1.0, nasty)


def test_no_gradient_comes_out_and_none_is_needed():
    log_prob = torch.randn(2, 3, requires_grad=True)
    done = regularise_batch(torch.zeros(2), log_prob, torch.zeros(2, 3), torch.ones(2, 3), 1.0)
    assert not any(part.requires_grad for part in _parts(done))


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_masked_slots_may_hold_anything_and_valid_ones_are_named(generator, poison):
    log_prob, reference = torch.randn(2, 4, 5, dtype=torch.float64)
    outcome, mask = torch.randn(4, dtype=torch.float64), torch.rand(4, 5) > 0.4
    mask[2, 3] = True
    expected = regularise_batch(outcome, log_prob, reference, mask, 0.3, generator)
    spoilt = torch.where(mask, log_prob, poison)
    found = regularise_batch(outcome, spoilt, reference, mask, 0.3, generator)
    for one, other in zip(_parts(found), _parts(expected), strict=True):
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
        for one, other in zip(_parts(done), _parts(alone), strict=True):
            assert torch.allclose(one[rows], other, rtol=1e-12, atol=1e-9)


def test_an_overflow_is_said():
    log_prob = torch.full((1, 200_000), -80.0)
    with pytest.raises(InvalidInput, match="the divergence 'forward KL' of a response overflows torch.float32: "):
        mask = torch.ones_like(log_prob, dtype=torch.bool)
        regularise_batch(torch.zeros(1), log_prob, torch.zeros_like(log_prob), mask, 1.0, BY_NAME["forward_kl"])


@pytest.mark.parametrize("baseline", ["none", "fitted"])
def test_a_coefficient_that_overflows_is_noticed(baseline):
    log_prob, variant, group = torch.full((1, 3), 1e36), Variant(baseline=baseline), torch.zeros(1).long()
    with pytest.raises(InvalidInput, match="overflows torch.float32"):
        regularise_batch(
            torch.zeros(1), log_prob, torch.zeros(1, 3), torch.ones(1, 3), 1e3, variant=variant, group=group
        )


def test_inputs_are_left_as_they_were():
    log_prob, reference = torch.randn(2, 2, 3)
    kept = log_prob.clone(), reference.clone()
    done = regularise_batch(torch.zeros(2), log_prob, reference, torch.ones(2, 3), 1.0, REVERSE_KL)
    done.advantages.fill_(5)
    assert torch.equal(log_prob, kept[0])
    assert torch.equal(reference, kept[1])


def test_an_outcome_that_is_not_finite_is_refused_also_where_no_token_is_valid():
    outcome = torch.tensor([1.0, math.nan])
    with pytest.raises(InvalidInput, match="outcome"):
        regularise_batch(outcome, torch.ones(2, 2), torch.zeros(2, 2), torch.tensor([[1, 1], [0, 0]]), 0.5)
