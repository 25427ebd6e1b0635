"""The outcome form: goldens, the gradient of the objective, SimPER as its case, long responses."""

import preference_oracles
import pytest
import torch

from frpo_verl.losses.coefficients import surrogate
from frpo_verl.losses.future_policy import future_policy
from frpo_verl.losses.outcome import outcome
from frpo_verl.losses.pairwise import Pairs, simper
from frpo_verl.losses.responses import response_lengths, response_log_prob

LENGTHS = [5, 1, 4, 7]
MASK = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
ADVANTAGES = torch.tensor([1.0, -1.0, 0.0, -0.3]).double()


def weights(at, advantages=ADVANTAGES):
    return outcome(response_log_prob(at.detach(), MASK), response_lengths(MASK), advantages)


def test_golden():
    # (1/16)^{1/4}/4 and (1/9)^{1/2}/2, times A
    at, lengths = -torch.tensor([16.0, 9.0]).double().log(), torch.tensor([4, 2])
    found = outcome(at, lengths, torch.tensor([2.0, -3.0]).double())
    assert [side.tolist() for side in found] == [pytest.approx([1 / 4, 0]), pytest.approx([0, 1 / 2])]


def test_at_the_current_policy_the_gradient_is_that_of_the_objective():
    policy = torch.rand(4, 7, dtype=torch.float64).log().requires_grad_()
    published = sum(
        preference_oracles.outcome_loss(policy[i, : LENGTHS[i]], ADVANTAGES[i].item()) for i in range(len(LENGTHS))
    )
    (theirs,) = torch.autograd.grad(published, policy)
    (ours,) = torch.autograd.grad(surrogate(weights(policy), policy, MASK).sum(), policy)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-14)
    assert torch.equal(ours[2], torch.zeros(7).double())
    assert (ours[0][MASK[0]] < 0).all() and (ours[1][MASK[1]] > 0).all()


def test_the_loss_is_the_formula():
    policy, future = torch.rand(2, 4, 7, dtype=torch.float64).log()
    loss = surrogate(weights(future), policy, MASK)
    for i, length in enumerate(LENGTHS):
        weight = future[i, :length].exp().prod().item() ** (1 / length)
        assert loss[i].item() == pytest.approx(-ADVANTAGES[i].item() * weight * policy[i, :length].mean().item())


def test_lambda_zero_is_the_base_method_to_the_bit():
    logits, reference_logits = torch.randn(2, 28, 31)
    logits.requires_grad_()
    found = future_policy(logits, reference_logits, torch.randint(31, (28,)), 0.0)
    for one, other in zip(
        weights(found.future_log_prob.view(4, 7)), weights(found.log_prob.detach().view(4, 7)), strict=True
    ):
        assert torch.equal(one, other)


def test_with_one_and_minus_one_for_the_sides_of_pairs_it_is_simper():
    at = torch.rand(4, 7, dtype=torch.float64).log()
    signed = weights(at, torch.tensor([1.0, -1.0, -1.0, 1.0]).double())
    pairs = Pairs(torch.tensor([0, 3]), torch.tensor([1, 2]))
    paired = simper(response_log_prob(at, MASK), response_lengths(MASK), pairs)
    for one, other in zip(signed, paired, strict=True):
        assert torch.equal(one, other)


def test_a_response_that_the_future_policy_leaves_loses_weight_and_one_that_it_likes_gains():
    # one position of two entries, four tokens alike; row 0 has risen since the reference, row 1 fallen
    logits = torch.tensor([[1.0, 0.0]] * 8).double()
    labels = torch.tensor([0] * 4 + [1] * 4)
    found = future_policy(logits, torch.zeros(8, 2).double(), labels, 1.0)
    mask, advantages = torch.ones(2, 4), torch.tensor([1.0, -1.0]).double()
    current, future = (
        outcome(response_log_prob(at.view(2, 4), mask), response_lengths(mask), advantages)
        for at in (found.log_prob, found.future_log_prob)
    )
    assert future.up[0] > current.up[0] > 0
    assert 0 < future.down[1] < current.down[1]


@pytest.mark.parametrize("per_token", [-1e-4, -0.5, -12.0])
def test_eight_thousand_tokens_neither_overflow_nor_vanish(per_token):
    policy = torch.full((1, 8192), per_token).requires_grad_()
    mask = torch.ones(1, 8192)
    found = outcome(response_log_prob(policy.detach(), mask), response_lengths(mask), torch.ones(1).double())
    surrogate(found, policy, mask).sum().backward()
    exact = -torch.tensor(per_token).double().exp() / 8192
    # the gradient is cast to float32
    assert torch.allclose(policy.grad.double(), exact, rtol=1e-6, atol=0)
