"""The return-to-go of stale samples equals its definition, and with whole products the exact gradient."""

import math

import pytest
import torch
from batches import log_ratios_and_masks
from hypothesis import given
from hypothesis import strategies as st
from oracles import expected_divergence, log_ratios, tiny_policy, weighted_score
from textbook import f_of

from frpo_verl.advantage import return_to_go, traced_return_to_go
from frpo_verl.checks import InvalidInput, NonFiniteToken
from frpo_verl.divergences import BY_NAME, REVERSE_KL, Generator

pytestmark = pytest.mark.filterwarnings("error")


def by_loops(delta, log_importance, mask, generator, truncation):
    """The definition, token by token; masked slots are stepped over."""
    result = torch.zeros_like(delta)
    for row in range(len(delta)):
        valid = mask[row].nonzero()[:, 0].tolist()
        for first, t in enumerate(valid):
            total, product = generator.local(delta[row, t : t + 1]).item(), 1.0
            for j in valid[first + 1 :]:
                product *= min(truncation, math.exp(log_importance[row, j].item()))
                total += product * generator.future(delta[row, j : j + 1]).item()
            result[row, t] = total
    return result


def test_golden():
    delta, mask = torch.tensor([[1.0, math.nan, 2.0, 4.0]]), torch.tensor([[1, 0, 1, 1]])
    ratio = torch.tensor([[9.0, math.nan, 0.5, 3.0]])
    # 1 + ½·2 + ½·1·4, 2 + 1·4, 4
    assert traced_return_to_go(delta, ratio.log(), mask, REVERSE_KL).tolist() == [[4.0, 0.0, 6.0, 4.0]]
    # 1 + ½·2 + ½·3·4, 2 + 3·4, 4; and nothing ahead
    whole = traced_return_to_go(delta, ratio.log(), mask, REVERSE_KL, math.inf)
    assert torch.allclose(whole, torch.tensor([[8.0, 0.0, 14.0, 4.0]]))
    assert traced_return_to_go(delta, ratio.log(), mask, REVERSE_KL, 0.0).tolist() == [[1.0, 0.0, 2.0, 4.0]]


@given(log_ratios_and_masks(5.0), st.sampled_from([0.0, 0.5, 1.0, 1.5, math.inf]), st.sampled_from(["k1", "k3"]))
def test_equals_the_definition_written_as_a_loop(case, truncation, name):
    delta, mask = case
    importance = delta.flip(-1) / 5
    expected = by_loops(delta, importance, mask, BY_NAME[name], truncation)
    result = traced_return_to_go(delta, importance, mask, BY_NAME[name], truncation)
    # sums of up to 12 numbers of size e⁵, times e¹² where nothing is truncated
    assert torch.allclose(result, expected, rtol=1e-10, atol=1e-10)


def test_every_generator_and_a_long_response(generator):
    delta, importance = 0.1 * torch.randn(3, 700, dtype=torch.float64), 0.1 * torch.randn(3, 700, dtype=torch.float64)
    mask = torch.rand(3, 700) > 0.2
    value, local, future = torch.zeros(3).double(), generator.local(delta), generator.future(delta)
    expected = torch.zeros_like(delta)
    for t in reversed(range(700)):
        expected[:, t] = torch.where(mask[:, t], local[:, t] + value, 0.0)
        weighted = importance[:, t].exp().clamp(max=1) * (future[:, t] + value)
        value = torch.where(mask[:, t], weighted, value)
    assert torch.allclose(traced_return_to_go(delta, importance, mask, generator), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_no_ratio_is_below_one_it_is_the_theorem_to_the_bit(generator, dtype):
    delta, mask = torch.randn(4, 300, dtype=dtype), torch.rand(4, 300) > 0.2
    importance = torch.zeros_like(delta)
    # above 1 is truncated, and what stands in masked slots is not looked at; the last row has another weight
    importance[1] = 0.5
    importance[2, ~mask[2]] = -3.0
    importance[3] = -0.5
    plain, traced = return_to_go(delta, mask, generator), traced_return_to_go(delta, importance, mask, generator)
    assert torch.equal(traced[:3], plain[:3])
    assert not torch.allclose(traced[3], plain[3])


def test_whole_products_before_and_after_are_the_exact_gradient(generator):
    policy, sampler, reference = (
        tiny_policy(1),
        tiny_policy(3, requires_grad=False),
        tiny_policy(2, requires_grad=False),
    )
    (exact,) = torch.autograd.grad(expected_divergence(policy, reference, f_of(generator)), policy.logits)
    estimates = {math.inf: 0.0, 1.0: 0.0}
    for response, chance in sampler.responses():
        delta, importance = (
            torch.tensor([log_ratios(policy, of, response)], dtype=torch.float64) for of in (reference, sampler)
        )
        so_far = importance.cumsum(-1).exp()
        for truncation in estimates:
            reg = traced_return_to_go(delta, importance, torch.ones(delta.shape), generator, truncation)
            weights = (so_far * reg)[0].tolist()
            estimates[truncation] = estimates[truncation] + chance.item() * weighted_score(policy, response, weights)
    assert torch.allclose(estimates[math.inf], exact, rtol=0, atol=1e-10)
    assert (estimates[1.0] - exact).norm() > 0.01 * exact.norm()


def test_gradients_do_not_flow_through_it():
    delta, importance = torch.randn(2, 5, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    assert not traced_return_to_go(delta, importance, torch.ones(2, 5), REVERSE_KL).requires_grad


def test_unfit_input_is_refused_in_one_sentence():
    delta, mask = torch.zeros(1, 3), torch.ones(1, 3)
    with pytest.raises(NonFiniteToken, match="log_importance of sample 0 at token 1 is nan"):
        traced_return_to_go(delta, torch.tensor([[0.0, math.nan, 0.0]]), mask, REVERSE_KL)
    with pytest.raises(NonFiniteToken, match="log_ratio of sample 0 at token 2 is inf"):
        traced_return_to_go(torch.tensor([[0.0, 0.0, math.inf]]), delta, mask, REVERSE_KL)
    nasty = Generator("nasty", local=lambda delta: delta / (delta != 2), future=torch.zeros_like)
    with pytest.raises(InvalidInput, match="the divergence 'nasty' of a response overflows torch.float32"):
        traced_return_to_go(torch.tensor([[1.0, 2.0, 3.0]]), delta, mask, nasty)
