"""The surrogate loss and the choice of the policy for each side."""

import torch

from frpo_verl.losses.coefficients import Coefficients, negatives_only, surrogate


def test_golden():
    log_prob = torch.tensor([[-1.0, -2.0, 5.0], [-3.0, 5.0, 5.0]], requires_grad=True)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    found = Coefficients(torch.tensor([2.0, 0.0]).double(), torch.tensor([0.5, 4.0]).double())
    loss = surrogate(found, log_prob, mask)
    assert loss.tolist() == [1.5 * 3, -4.0 * 3]
    loss.sum().backward()
    assert log_prob.grad.tolist() == [[-1.5, -1.5, 0], [4, 0, 0]]


def test_coefficients_are_constants():
    log_prob = torch.randn(3, 4, requires_grad=True)
    sides = torch.rand(2, 3, requires_grad=True)
    loss = surrogate(Coefficients(*sides), log_prob, torch.ones(3, 4))
    assert torch.autograd.grad(loss.sum(), sides, allow_unused=True) == (None,)


def test_micro_batches_add_up():
    log_prob, mask = torch.randn(5, 4, dtype=torch.float64), torch.rand(5, 4) > 0.3
    found = Coefficients(*torch.rand(2, 5, dtype=torch.float64))
    whole = surrogate(found, log_prob, mask)
    parts = [slice(0, 2), slice(2, 5)]
    split = [surrogate(Coefficients(found.up[i], found.down[i]), log_prob[i], mask[i]) for i in parts]
    assert torch.equal(torch.cat(split), whole)


def test_negatives_only_looks_ahead_for_what_is_lowered():
    current, future = Coefficients(*torch.rand(2, 5)), Coefficients(*torch.rand(2, 5))
    found = negatives_only(current, future)
    assert torch.equal(found.up, current.up) and torch.equal(found.down, future.down)
