"""The future policy: golden, loop, the identity with Rényi's divergence, limits, gradient, blocks, half precision."""

import gc
import math
import weakref

import preference_oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl import rows
from frpo_verl.losses.future_policy import future_policy, without_normaliser

pytestmark = pytest.mark.filterwarnings("error")

logits = st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=2, max_size=7)
strengths = st.one_of(st.just(0.0), st.floats(1e-3, 20))


def batch(tokens: int, vocabulary: int, dtype: torch.dtype = torch.float64, apart: float = 1.0):
    policy = 3 * torch.randn(tokens, vocabulary, dtype=torch.float64)
    reference = policy + apart * torch.randn(tokens, vocabulary, dtype=torch.float64)
    return policy.to(dtype), reference.to(dtype), torch.randint(vocabulary, (tokens,))


def at_one_position(pairs, strength: float) -> tuple[list[float], list[float], list[float]]:
    """log π, log π_ref and log π̂ of every entry: each is the label of a token of its own."""
    policy, reference = (torch.tensor([side] * len(pairs), dtype=torch.float64) for side in zip(*pairs, strict=True))
    found = future_policy(policy, reference, torch.arange(len(pairs)), strength)
    return found.log_prob.tolist(), found.ref_log_prob.tolist(), found.future_log_prob.tolist()


def test_golden():
    # π = (3, 1)/4, π_ref = (1, 1)/2; λ = 1: π²/π_ref = (9, 1)/8, normalised (9, 1)/10
    policy, reference = torch.tensor([[3.0, 1.0]] * 2).double().log(), torch.zeros(2, 2).double()
    found = future_policy(policy, reference, torch.tensor([0, 1]), 1.0)
    assert found.log_prob.exp().tolist() == pytest.approx([0.75, 0.25], rel=1e-14)
    assert found.ref_log_prob.exp().tolist() == pytest.approx([0.5, 0.5], rel=1e-14)
    assert found.future_log_prob.exp().tolist() == pytest.approx([0.9, 0.1], rel=1e-14)
    # λ·D_2 = log Σ π²/π_ref = log 10/8, whatever the token
    error = without_normaliser(found.log_prob, found.ref_log_prob, 1.0) - found.future_log_prob
    assert error.exp().tolist() == pytest.approx([1.25, 1.25], rel=1e-14)


@given(logits, strengths)
def test_equals_the_definition_written_as_a_loop(pairs, strength):
    policy, reference = (list(side) for side in zip(*pairs, strict=True))
    log_prob, ref_log_prob, future = at_one_position(pairs, strength)
    # logits of up to 1,200, whose unit is 2e-13
    assert log_prob == pytest.approx(preference_oracles.log_softmax(policy), abs=1e-11)
    assert ref_log_prob == pytest.approx(preference_oracles.log_softmax(reference), abs=1e-11)
    assert future == pytest.approx(preference_oracles.future_log_policy(policy, reference, strength), abs=1e-11)


@given(logits, strengths)
def test_the_form_without_normaliser_is_above_by_renyis_divergence(pairs, strength):
    policy, reference = (list(side) for side in zip(*pairs, strict=True))
    log_prob, ref_log_prob, future = (
        torch.tensor(values, dtype=torch.float64) for values in at_one_position(pairs, strength)
    )
    error = without_normaliser(log_prob, ref_log_prob, strength) - future
    exact = strength * preference_oracles.renyi_divergence(policy, reference, 1 + strength)
    # a difference of numbers of up to 2,600, whose unit is 5e-13
    assert error.tolist() == pytest.approx([exact] * len(pairs), abs=1e-10)
    assert -1e-10 <= exact <= strength * (log_prob - ref_log_prob).max().item() + 1e-10


@pytest.mark.parametrize("strength", [0.1, 1.0, 4.0])
def test_near_the_reference_the_error_is_half_lambda_times_one_plus_lambda_times_the_variance(strength):
    policy, reference, labels = batch(20, 50, apart=1e-3)
    found = future_policy(policy, reference, labels, strength)
    error = without_normaliser(found.log_prob, found.ref_log_prob, strength) - found.future_log_prob
    ratio, weights = torch.log_softmax(policy, 1) - torch.log_softmax(reference, 1), torch.softmax(policy, 1)
    mean = (weights * ratio).sum(1, keepdim=True)
    variance = (weights * (ratio - mean) ** 2).sum(1)
    # third order: the log-ratio times λ
    assert torch.allclose(error, strength * (1 + strength) / 2 * variance, rtol=0.03, atol=1e-12)


@given(logits, st.floats(0.01, 5))
def test_a_token_gains_where_its_log_ratio_is_above_the_divergence_and_loses_below_the_reference(pairs, strength):
    policy, reference = (list(side) for side in zip(*pairs, strict=True))
    divergence = preference_oracles.renyi_divergence(policy, reference, 1 + strength)
    for log_prob, ref_log_prob, future in zip(*at_one_position(pairs, strength), strict=True):
        assert future - log_prob == pytest.approx(strength * (log_prob - ref_log_prob - divergence), abs=1e-10)
        assert future <= log_prob + 1e-10 or log_prob > ref_log_prob


def test_to_first_order_in_lambda_it_follows_the_log_ratio_less_kl():
    policy, reference, _ = batch(1, 9)
    pairs = list(zip(policy[0].tolist(), reference[0].tolist(), strict=True))
    divergence = preference_oracles.renyi_divergence(policy[0].tolist(), reference[0].tolist(), 1)
    for log_prob, ref_log_prob, future in zip(*at_one_position(pairs, 1e-6), strict=True):
        # second order: 1e-6
        assert (future - log_prob) / 1e-6 == pytest.approx(log_prob - ref_log_prob - divergence, abs=1e-4)


def test_far_ahead_all_mass_is_where_the_logits_rose_most():
    policy, reference, _ = batch(1, 9)
    rise = (policy - reference)[0]
    for strength in (1e3, 1e6, 1e30):
        future = at_one_position(list(zip(policy[0].tolist(), reference[0].tolist(), strict=True)), strength)[2]
        assert future[rise.argmax()] == pytest.approx(0, abs=1e-12)
        behind = torch.tensor(future).double() / strength
        # the policy itself is a matter of 1/λ
        assert torch.allclose(behind, rise - rise.max(), rtol=1e-6, atol=20 / strength)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_without_extrapolation_it_is_the_policy_to_the_bit(dtype):
    policy, reference, labels = batch(50, 333, dtype)
    found = future_policy(policy, reference, labels, 0.0)
    assert torch.equal(found.future_log_prob, found.log_prob)
    assert torch.equal(without_normaliser(found.log_prob, found.ref_log_prob, 0), found.log_prob)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 10.0])
def test_a_policy_that_is_its_reference_stays_where_it_is(strength):
    policy, _, labels = batch(50, 333, torch.float32)
    found = future_policy(policy, policy.clone(), labels, strength)
    assert torch.equal(found.future_log_prob, found.log_prob)
    assert torch.equal(found.ref_log_prob, found.log_prob)


def test_the_gradient_is_that_of_log_softmax_and_none_goes_through_the_others():
    policy, reference, labels = batch(40, 70)
    policy.requires_grad_(), reference.requires_grad_()
    found = future_policy(policy, reference, labels, 2.0)
    assert not found.future_log_prob.requires_grad and not found.ref_log_prob.requires_grad
    assert not without_normaliser(found.log_prob, found.ref_log_prob, 2.0).requires_grad
    weight = torch.randn(40, dtype=torch.float64)
    (ours,) = torch.autograd.grad((weight * found.log_prob).sum(), policy)
    plain = torch.log_softmax(policy, 1).gather(1, labels[:, None])[:, 0]
    (theirs,) = torch.autograd.grad((weight * plain).sum(), policy)
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    small = policy.detach()[:4, :6].clone().requires_grad_()
    given = reference[:4, :6], labels[:4] % 6, 2.0
    assert torch.autograd.gradcheck(lambda logits: future_policy(logits, *given).log_prob, small)


def test_logits_of_half_precision_are_computed_in_float32():
    policy, reference, labels = batch(64, 5000, torch.bfloat16)
    policy.requires_grad_()
    found = future_policy(policy, reference, labels, 3.0)
    wide = policy.detach().double().requires_grad_()
    exact = future_policy(wide, reference.double(), labels, 3.0)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        # float32 of logits of up to 60
        assert torch.allclose(ours.double(), theirs, rtol=0, atol=3e-5)
    found.log_prob.sum().backward(), exact.log_prob.sum().backward()
    assert policy.grad.dtype == torch.bfloat16
    # bfloat16 has eight bits
    assert torch.allclose(policy.grad.double(), wide.grad, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("slots", [1, 700, 2**17])
def test_blocks_change_rounding_at_most(monkeypatch, slots):
    policy, reference, labels = batch(37, 100, torch.float32)
    policy.requires_grad_()
    whole = future_policy(policy, reference, labels, 1.5)
    (gradient,) = torch.autograd.grad(whole.log_prob.sum(), policy)
    monkeypatch.setattr(rows, "CPU_BLOCK", slots)
    blocks = future_policy(policy, reference, labels, 1.5)
    (again,) = torch.autograd.grad(blocks.log_prob.sum(), policy)
    for one, other in zip(whole, blocks, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=2e-6)
    assert torch.allclose(gradient, again, rtol=0, atol=1e-6)


def test_tokens_do_not_see_each_other():
    policy, reference, labels = batch(30, 50, torch.float32)
    found = future_policy(policy, reference, labels, 1.0)
    order = torch.randperm(30)
    for one, other in zip(found, future_policy(policy[order], reference[order], labels[order], 1.0), strict=True):
        assert torch.allclose(one[order], other, rtol=0, atol=2e-6)


def test_the_references_logits_are_not_kept_for_the_backward_pass():
    policy, reference, labels = batch(30, 50, torch.float32)
    policy.requires_grad_()
    found = future_policy(policy, reference, labels, 1.0)
    kept = weakref.ref(reference)
    del reference
    gc.collect()
    assert kept() is None
    found.log_prob.sum().backward()
    assert policy.grad.abs().sum() > 0


def test_entries_that_both_rule_out_stay_out():
    policy, reference, labels = batch(20, 30)
    hidden = future_policy(policy[:, :20], reference[:, :20], labels % 20, 2.0)
    policy[:, 20:] = reference[:, 20:] = -math.inf
    policy.requires_grad_()
    found = future_policy(policy, reference, labels % 20, 2.0)
    for one, other in zip(found, hidden, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    found.log_prob.sum().backward()
    assert torch.equal(policy.grad[:, 20:], torch.zeros(20, 10).double())


def test_an_entry_that_the_reference_alone_rules_out_is_not_passed_over():
    policy, reference, labels = batch(2, 5)
    reference[1, 3] = -math.inf
    assert future_policy(policy, reference, labels, 1.0).future_log_prob.isnan().tolist() == [False, True]
    base = future_policy(policy, reference, labels, 0.0)
    assert torch.equal(base.future_log_prob, base.log_prob)


@pytest.mark.parametrize("size", [1e-30, 1.0, 80.0, 1e4, 1e9])
def test_logits_of_any_size_neither_overflow_nor_vanish(size):
    policy, reference = size * torch.randn(2, 20, 50)
    policy.requires_grad_()
    found = future_policy(policy, reference, torch.randint(50, (20,)), 2.0)
    found.log_prob.sum().backward()
    assert all(values.isfinite().all() for values in (*found, policy.grad))


def test_no_tokens():
    policy = torch.zeros(0, 5, requires_grad=True)
    found = future_policy(policy, torch.zeros(0, 5), torch.zeros(0).long(), 1.0)
    found.log_prob.sum().backward()
    assert [len(values) for values in found] == [0, 0, 0]
    assert policy.grad.shape == (0, 5)
