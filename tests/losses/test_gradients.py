"""Tests every loss of the room: values and gradients by the definition, in float64, and numerical care."""

import math

import loss_oracles
import pytest
import torch

from frpo_verl.losses.drpo import drpo, drpo_weight
from frpo_verl.losses.drpo_outside import drpo_outside, drpo_outside_weight
from frpo_verl.losses.spo import spo, spo_weight

LOW, HIGH = 0.15, 0.3
ALL = pytest.mark.parametrize(
    ("loss", "weight"), [(drpo, drpo_weight), (drpo_outside, drpo_outside_weight), (spo, spo_weight)]
)
REGIONS = pytest.mark.parametrize(
    ("low", "high"), [(0.04, 0.04), (0.15, 0.3), (0.6, 0.2), (1.0, 1.0), (2.5, 2.5), (12.5, 12.5)]
)


def batch(rows: int = 16, length: int = 12, vocabulary: int = 4):
    """Logits of the policy, a behaviour that differs from it, the sampled tokens, advantages with zeros among them."""
    logits = 1.5 * torch.randn(rows, length, vocabulary, dtype=torch.float64)
    behaviour = torch.log_softmax(logits + torch.randn_like(logits), -1)
    tokens = torch.randint(vocabulary, (rows, length))
    advantages = torch.randn(rows, length, dtype=torch.float64)
    advantages[:, ::5] = 0
    return logits, behaviour.gather(-1, tokens[..., None])[..., 0], tokens, advantages


def by_definition(function, *tensors: torch.Tensor, low: float, high: float) -> torch.Tensor:
    rows = zip(*(tensor.flatten().tolist() for tensor in tensors), strict=True)
    values = [getattr(loss_oracles, function.__name__)(*row, low, high) for row in rows]
    return torch.tensor(values, dtype=torch.float64).reshape(tensors[0].shape)


@ALL
@REGIONS
def test_value_and_weight_are_those_of_the_definition(loss, weight, low, high):
    logits, old, tokens, advantages = batch()
    new = torch.log_softmax(logits, -1).gather(-1, tokens[..., None])[..., 0]
    for function in (loss, weight):
        expected = by_definition(function, old, new, advantages, low=low, high=high)
        found = function(old, new, advantages, low, high)
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)


@ALL
@REGIONS
def test_the_gradient_of_the_logits_is_minus_a_r_w_times_that_of_the_log_probability(loss, weight, low, high):
    logits, old, tokens, advantages = batch()
    logits.requires_grad_()
    new = torch.log_softmax(logits, -1).gather(-1, tokens[..., None])[..., 0]
    (found,) = torch.autograd.grad(loss(old, new, advantages, low, high).sum(), logits)
    weights = by_definition(weight, old, new.detach(), advantages, low=low, high=high)
    for i, row in enumerate(logits.tolist()):
        for t, of_token in enumerate(row):
            r = math.exp(new[i, t].item() - old[i, t].item())
            coefficient = -advantages[i, t].item() * r * weights[i, t].item()
            expected = loss_oracles.gradient_of_logits(of_token, tokens[i, t].item(), coefficient)
            assert found[i, t].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-10)


@ALL
def test_without_an_advantage_there_is_neither_loss_nor_gradient(loss, weight):
    old, new = torch.log(torch.tensor([[[0.2, 0.9]], [[0.7, 0.1]]], dtype=torch.float64))
    new.requires_grad_()
    value = loss(old, new, torch.zeros_like(old), LOW, HIGH)
    (gradient,) = torch.autograd.grad(value.sum(), new)
    assert not value.any() and not gradient.any()
    assert torch.equal(weight(old, new, torch.zeros_like(old), LOW, HIGH), torch.ones_like(old))


@ALL
def test_a_wide_region_leaves_the_plain_surrogate(loss, weight):
    _, old, _, advantages = batch()
    new = old - torch.rand_like(old)
    plain = -advantages * torch.exp(new - old)
    assert torch.allclose(loss(old, new, advantages, 1e12, 1e12), plain, rtol=0, atol=1e-10)
    assert torch.allclose(loss(old, new, advantages, math.inf, math.inf), plain, rtol=1e-14, atol=0)
    assert torch.equal(weight(old, new, advantages, math.inf, math.inf), torch.ones_like(old))


@ALL
def test_the_sign_of_the_advantage_chooses_the_width(loss, weight):
    _, old, _, advantages = batch()
    new = old - torch.rand_like(old)
    both = loss(old, new, advantages, LOW, HIGH)
    assert torch.equal(both[advantages > 0], loss(old, new, advantages, 99.0, HIGH)[advantages > 0])
    assert torch.equal(both[advantages < 0], loss(old, new, advantages, LOW, 99.0)[advantages < 0])
    of_weight = weight(old, new, advantages, LOW, HIGH)
    assert torch.equal(of_weight[advantages > 0], weight(old, new, advantages, 99.0, HIGH)[advantages > 0])
    assert torch.equal(of_weight[advantages < 0], weight(old, new, advantages, LOW, 99.0)[advantages < 0])


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_ratios_of_up_to_80_are_held_at_20_and_give_no_gradient_there(loss, weight, dtype):
    ratios = torch.tensor([-80.0, -30.0, -20.5, -19.5, 0.0, 19.5, 20.5, 30.0, 80.0])
    old = torch.where(ratios > 0, -80.5, -0.5).repeat(2, 1).to(dtype)
    advantages = torch.tensor([[1.0], [-1.0]]).expand(2, 9).to(dtype)
    new = (old.float() + ratios).to(dtype).requires_grad_()
    value = loss(old, new, advantages, LOW, HIGH)
    (gradient,) = torch.autograd.grad(value.sum(), new)
    exact = by_definition(loss, old.double(), new.detach().double(), advantages.double(), low=LOW, high=HIGH)
    assert value.dtype == torch.float32
    # float32, whose unit is 6e-8, times the exponent of 80
    assert torch.allclose(value.double(), exact, rtol=1e-5, atol=0)
    assert torch.isfinite(gradient).all()
    beyond = (new.float() - old.float()).abs() > 20
    assert beyond.sum() == 12 and not gradient[beyond].any() and gradient[~beyond & (old < -1)].any()


@ALL
def test_half_precision_is_computed_in_float32(loss, weight):
    # 0.5 and 0.501: their difference is below what bfloat16 tells apart
    old = torch.log(torch.full((1, 64), 0.5)).bfloat16()
    new = old - torch.arange(64).bfloat16() / 256
    advantages = torch.ones(1, 64).bfloat16()
    for function in (loss, weight):
        found = function(old, new, advantages, LOW, HIGH)
        assert found.dtype == torch.float32
        exact = by_definition(function, old.double(), new.double(), advantages.double(), low=LOW, high=HIGH)
        # float32
        assert torch.allclose(found.double(), exact, rtol=0, atol=1e-5)
