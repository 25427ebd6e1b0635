"""FRPO's expected gradient is the gradient of the regularised objective: enumerated exactly, for reverse KL."""

import math

import pytest
import torch
from oracles import (
    END,
    expected_divergence,
    expected_reward,
    frpo,
    log_ratios,
    loss_side_gradient,
    objective,
    score_function_gradient,
    tiny_policy,
)

from frpo_verl.advantage import frpo_advantage, return_to_go
from frpo_verl.divergences import REVERSE_KL

pytestmark = pytest.mark.filterwarnings("error")

BETAS = [0.01, 0.3, 2.0]


def _reward(response: tuple[int, ...]) -> float:
    return float(response[0] == 0 and response[-1] == END)


def _minus_log(u):
    return -torch.log(u)


def _divergence_to_go(policy, reference, response) -> torch.Tensor:
    delta = torch.tensor([[float(value) for value in log_ratios(policy, reference, response)]], dtype=torch.float64)
    return return_to_go(delta, torch.ones_like(delta, dtype=torch.bool), REVERSE_KL)[0]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("max_length", [2, 3, 4])
def test_the_expected_gradient_is_that_of_the_objective(beta, max_length):
    policy = tiny_policy(1, max_length)
    reference = tiny_policy(2, max_length, requires_grad=False)
    value = objective(policy, reference, _reward, beta, _minus_log)
    (exact,) = torch.autograd.grad(value, policy.logits)
    baseline = expected_reward(policy, _reward).item()

    def weights(response):
        return ((_reward(response) - baseline) - beta * _divergence_to_go(policy, reference, response)).tolist()

    assert torch.allclose(score_function_gradient(policy, weights), exact, rtol=0, atol=1e-12)


def test_the_loss_side_token_penalty_misses_the_whole_gradient_of_reverse_kl():
    policy, reference = tiny_policy(1), tiny_policy(2, requires_grad=False)
    (exact,) = torch.autograd.grad(expected_divergence(policy, reference, _minus_log), policy.logits)
    surrogate = loss_side_gradient(policy, reference, lambda response: 0.0, -1.0, _minus_log)
    assert exact.norm() > 0.1
    # Proposition 4.3: what a k1 penalty in the loss differentiates has expectation zero.
    assert ((surrogate - exact).norm() / exact.norm()).item() == pytest.approx(1.0, abs=1e-12)


def test_equals_the_composition_written_as_a_loop():
    scores, group = torch.randn(6, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 1])
    delta, mask = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5) > 0.3
    expected = frpo(scores.tolist(), group.tolist(), delta.tolist(), mask.tolist(), 0.3, 1e-6)
    result = frpo_advantage(scores, group, delta, mask, beta=0.3)
    assert torch.allclose(result, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_masked_slots_get_zero_whatever_they_held():
    delta, mask = torch.randn(2, 3), torch.tensor([[True, False, True], [False, False, False]])
    delta[~mask] = math.nan
    result = frpo_advantage(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), delta, mask, beta=0.5)
    assert not result[~mask].any()
    assert torch.isfinite(result).all()
