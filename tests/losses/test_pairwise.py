"""DPO, RPO and SimPER: gradients against autograd of the published losses, FPA's forms, and long responses."""

import math

import preference_oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.losses.coefficients import surrogate
from frpo_verl.losses.future_policy import future_policy, without_normaliser
from frpo_verl.losses.pairwise import Pairs, dpo, rpo, simper
from frpo_verl.losses.responses import response_lengths, response_log_prob

BETA, ALPHA, STRENGTH = 0.3, 0.7, 1.5
PAIRS = Pairs(torch.tensor([0, 0, 3, 4]), torch.tensor([1, 2, 2, 5]))
"""Row 0 is better than 1 and 2, row 3 better than 2, row 4 than 5; row 6 is in no pair."""
LENGTHS = [5, 1, 4, 7, 2, 3, 6]
MASK = torch.arange(7) < torch.tensor(LENGTHS)[:, None]

METHODS = {
    "dpo": lambda at, ref, lengths, pairs: dpo(at, ref, pairs, BETA),
    "rpo": lambda at, ref, lengths, pairs: rpo(at, ref, lengths, pairs, BETA, ALPHA),
    "simper": lambda at, ref, lengths, pairs: simper(at, lengths, pairs),
}
PUBLISHED = {
    "dpo": lambda *sides: preference_oracles.dpo_loss(*sides, BETA),
    "rpo": lambda *sides: preference_oracles.rpo_loss(*sides, BETA, ALPHA),
    "simper": lambda *sides: preference_oracles.simper_loss(*sides[:2]),
}
every = pytest.mark.parametrize("name", METHODS)


def responses() -> tuple[torch.Tensor, torch.Tensor]:
    """log π, with a gradient, and log π_ref; masked slots hold what must not matter."""
    reference = -torch.rand(7, 7, dtype=torch.float64)
    policy = (reference + 0.5 * torch.randn(7, 7, dtype=torch.float64)).clamp(max=0)
    reference[~MASK] = policy[~MASK] = 9.0
    return policy.requires_grad_(), reference


def coefficients(name, at, reference, pairs=PAIRS):
    return METHODS[name](
        response_log_prob(at.detach(), MASK), response_log_prob(reference, MASK), response_lengths(MASK), pairs
    )


def test_goldens():
    # p(y_w)/π_ref(y_w) = 2, p(y_l)/π_ref(y_l) = 6; β = 1: σ(log 6 − log 2) = 3/4
    at, ref = torch.tensor([2.0, 6.0]).double().log(), torch.zeros(2).double()
    pairs, lengths = Pairs(torch.tensor([0]), torch.tensor([1])), torch.tensor([4, 2])
    assert [side.tolist() for side in dpo(at, ref, pairs, 1.0)] == [pytest.approx([0.75, 0]), pytest.approx([0, 0.75])]
    # β = 2: 2·σ(2 log 3) = 2·9/10
    assert dpo(at, ref, pairs, 2.0).up.tolist() == pytest.approx([1.8, 0])
    found = rpo(at, ref, lengths, pairs, 1.0, 0.5)
    assert [side.tolist() for side in found] == [pytest.approx([0.75 + 0.125, 0]), pytest.approx([0, 0.75])]
    # (1/16)^{1/4}/4 and (1/9)^{1/2}/2
    found = simper(-torch.tensor([16.0, 9.0]).double().log(), lengths, pairs)
    assert [side.tolist() for side in found] == [pytest.approx([1 / 8, 0]), pytest.approx([0, 1 / 6])]


@every
def test_at_the_current_policy_the_gradient_is_that_of_the_published_loss(name):
    policy, reference = responses()
    published = 0
    for chosen, rejected in zip(*(side.tolist() for side in PAIRS), strict=True):
        sides = [rows[i, : LENGTHS[i]] for rows in (policy, reference) for i in (chosen, rejected)]
        published = published + PUBLISHED[name](*sides)
    (theirs,) = torch.autograd.grad(published, policy)
    loss = surrogate(coefficients(name, policy, reference), policy, MASK)
    (ours,) = torch.autograd.grad(loss.sum(), policy)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-14)
    assert (ours[:6][MASK[:6]] != 0).all()
    assert torch.equal(ours[6], torch.zeros(7).double())


@every
def test_the_future_takes_the_place_of_the_policy_in_the_coefficients_alone(name):
    policy, reference = responses()
    future = (policy + torch.randn(7, 7, dtype=torch.float64).abs()).detach().requires_grad_()
    at_future = METHODS[name](
        response_log_prob(future, MASK), response_log_prob(reference, MASK), response_lengths(MASK), PAIRS
    )
    loss = surrogate(at_future, policy, MASK)
    ours, through_weight = torch.autograd.grad(loss.sum(), (policy, future), allow_unused=True)
    assert through_weight is None
    # the published gradient at π̂, of which only the coefficient per row is taken
    published = 0
    for chosen, rejected in zip(*(side.tolist() for side in PAIRS), strict=True):
        sides = [rows[i, : LENGTHS[i]] for rows in (future, reference) for i in (chosen, rejected)]
        published = published + PUBLISHED[name](*sides)
    (theirs,) = torch.autograd.grad(published, future)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-14)


@every
def test_from_logits_lambda_zero_is_the_base_method_to_the_bit_and_lambda_is_not(name):
    logits, reference_logits = torch.randn(2, 49, 31)
    labels = torch.randint(31, (49,))
    gradients = {}
    for key, strength in (("base", 0.0), ("zero", 0.0), ("ahead", STRENGTH)):
        leaf = logits.clone().requires_grad_()
        found = future_policy(leaf, reference_logits, labels, strength)
        at = found.log_prob.detach() if key == "base" else found.future_log_prob
        weights = coefficients(name, at.view(7, 7), found.ref_log_prob.view(7, 7))
        surrogate(weights, found.log_prob.view(7, 7), MASK).sum().backward()
        gradients[key] = leaf.grad
    assert torch.equal(gradients["zero"], gradients["base"])
    assert not torch.allclose(gradients["ahead"], gradients["base"], rtol=1e-3)


def test_without_normalisers_fpa_of_dpo_is_dpo_of_another_beta_inside():
    policy, reference = responses()
    at = without_normaliser(policy, reference, STRENGTH)
    ours = coefficients("dpo", at, reference)
    sums = response_log_prob(policy.detach(), MASK), response_log_prob(reference, MASK)
    stronger = dpo(*sums, PAIRS, (1 + STRENGTH) * BETA)
    for one, other in zip(ours, stronger, strict=True):
        assert torch.allclose(one, other / (1 + STRENGTH), rtol=1e-12, atol=0)


@every
def test_a_row_in_several_pairs_gets_the_sum_of_them(name):
    policy, reference = responses()
    together = coefficients(name, policy, reference)
    apart = [
        coefficients(name, policy, reference, Pairs(PAIRS.chosen[i : i + 1], PAIRS.rejected[i : i + 1]))
        for i in range(4)
    ]
    for side, of_pairs in zip(together, zip(*apart, strict=True), strict=True):
        assert torch.allclose(side, sum(of_pairs), rtol=1e-12, atol=0)
    assert together.up[6] == together.down[6] == 0
    nothing = coefficients(name, policy, reference, Pairs(*torch.zeros(2, 0).long()))
    assert [side.tolist() for side in nothing] == [[0.0] * 7] * 2


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(1e-3, 10))
def test_dpo_is_bounded_whatever_the_margin(chosen, rejected, beta):
    at = torch.tensor([chosen, rejected], dtype=torch.float64)
    found = dpo(at, torch.zeros(2).double(), Pairs(torch.tensor([0]), torch.tensor([1])), beta)
    assert 0 <= found.up[0].item() <= beta
    assert found.up[0].item() == found.down[1].item()
    if beta * (rejected - chosen) < -30:
        # σ(x) = e^x there
        assert found.up[0].item() == pytest.approx(beta * math.exp(beta * (rejected - chosen)), rel=1e-9, abs=1e-300)


@every
def test_eight_thousand_tokens_neither_overflow_nor_vanish(name):
    lengths = torch.tensor([8192, 8000])
    mask = torch.arange(8192) < lengths[:, None]
    policy = -torch.rand(2, 8192)
    policy.requires_grad_()
    reference = policy.detach() - 0.001 * torch.randn(2, 8192)
    pairs = Pairs(torch.tensor([0]), torch.tensor([1]))
    sums = response_log_prob(policy.detach(), mask), response_log_prob(reference, mask)
    # a probability of e^-4000
    assert sums[0].max() < -3900
    surrogate(METHODS[name](*sums, response_lengths(mask), pairs), policy, mask).sum().backward()
    inner = [policy.grad[i, : lengths[i]] for i in range(2)]
    assert all(row.isfinite().all() and (row != 0).all() for row in inner)
    published = policy.detach().double().requires_grad_()
    sides = [rows[i, : lengths[i]] for rows in (published, reference.double()) for i in range(2)]
    PUBLISHED[name](*sides).backward()
    # the gradient is cast to float32
    assert torch.allclose(policy.grad.double(), published.grad, rtol=1e-6, atol=0)
