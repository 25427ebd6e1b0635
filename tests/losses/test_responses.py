"""Sums over responses: goldens, masks, long responses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.checks import NonFiniteToken
from frpo_verl.losses.responses import inverse_perplexity, response_lengths, response_log_prob

rows = st.lists(st.lists(st.tuples(st.floats(-30, 0), st.booleans()), min_size=4, max_size=4), min_size=1, max_size=4)


def test_golden():
    log_prob = torch.tensor([[0.5, 0.25, 0.5, 9.0], [9.0, 9.0, 9.0, 9.0]]).log()
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])
    total, lengths = response_log_prob(log_prob, mask), response_lengths(mask)
    assert total.dtype == torch.float64
    # float32 log-probs
    assert total.exp().tolist() == pytest.approx([1 / 16, 1], rel=1e-6)
    assert lengths.tolist() == [3, 1]
    assert inverse_perplexity(total, lengths).tolist() == pytest.approx([16 ** (-1 / 3), 1], rel=1e-6)


@given(rows)
def test_equal_the_definition_written_as_a_loop(case):
    log_prob = torch.tensor([[value for value, _ in row] for row in case], dtype=torch.float64)
    mask = torch.tensor([[valid for _, valid in row] for row in case])
    kept = [[value for value, valid in row if valid] for row in case]
    total, lengths = response_log_prob(log_prob, mask), response_lengths(mask)
    assert total.tolist() == pytest.approx([math.fsum(row) for row in kept], abs=1e-12)
    assert lengths.tolist() == [max(1, len(row)) for row in kept]
    means = [math.fsum(row) / max(1, len(row)) for row in kept]
    assert inverse_perplexity(total, lengths).tolist() == pytest.approx([math.exp(mean) for mean in means], rel=1e-12)


def test_masked_slots_may_hold_anything_and_get_no_gradient():
    log_prob = torch.tensor([[-1.0, math.nan, -math.inf]], requires_grad=True)
    total = response_log_prob(log_prob, torch.tensor([[1, 0, 0]]))
    total.sum().backward()
    assert total.tolist() == [-1]
    assert log_prob.grad.tolist() == [[1, 0, 0]]
    with pytest.raises(NonFiniteToken, match="log_prob of sample 0 at token 1 is nan"):
        response_log_prob(log_prob, torch.tensor([[1, 1, 0]]))


@pytest.mark.parametrize("per_token", [-1e-6, -0.7, -11.0, -80.0])
def test_eight_thousand_tokens_lose_nothing(per_token):
    log_prob = torch.full((2, 8192), per_token)
    log_prob[1, 0] -= 0.001
    mask = torch.ones(2, 8192)
    total = response_log_prob(log_prob, mask)
    exact = log_prob[0, 0].double().item()
    assert total[0].item() == pytest.approx(8192 * exact, rel=1e-12)
    # below the unit of float32 at such sums
    assert (total[1] - total[0]).item() == pytest.approx(-0.001, abs=4e-6)
    assert inverse_perplexity(total, response_lengths(mask))[0].item() == pytest.approx(math.exp(exact), rel=1e-12)
