"""Ratio, excess and gap: goldens, digits where the policies nearly agree, and the widths."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.losses.importance import importance, radius


def test_goldens():
    old, new = torch.tensor([[[0.2, 0.5]], [[0.3, 0.125]]], dtype=torch.float64).log()
    found = importance(old, new)
    assert found.ratio.tolist()[0] == pytest.approx([1.5, 0.25], rel=1e-14)
    assert found.excess.tolist()[0] == pytest.approx([0.5, -0.75], rel=1e-14)
    assert found.gap.tolist()[0] == pytest.approx([0.1, -0.375], rel=1e-14)


@given(st.floats(-1, -1e-6), st.floats(-1e-3, 1e-3))
def test_the_gap_keeps_its_digits_where_the_two_nearly_agree(log_mu, log_ratio):
    old = torch.tensor([[log_mu]])
    new = old + log_ratio
    exact = math.exp(old.item()) * math.expm1(new.item() - old.item())
    # float32, whose unit is 6e-8: e^new − e^old would lose all but three digits
    assert importance(old, new).gap.item() == pytest.approx(exact, rel=1e-6, abs=1e-30)


def test_a_token_that_became_impossible_is_held():
    old, new = torch.tensor([[-1.0, -math.inf]]), torch.tensor([[-math.inf, -1.0]])
    found = importance(old, new)
    assert found.ratio.tolist()[0] == pytest.approx([math.exp(-20), math.exp(20)], rel=1e-5)
    assert found.gap.tolist()[0] == pytest.approx([-math.exp(-1), 0.0], rel=1e-6)


def test_widths_by_the_sign_of_the_advantage():
    advantages = torch.tensor([[-2.0, 0.0, 1e-30]])
    assert torch.equal(radius(advantages, 0.25, 0.5), torch.tensor([[0.25, 0.25, 0.5]]))
    assert radius(advantages.bfloat16(), 0.1, 0.2).dtype == torch.float32
    assert radius(advantages.double(), 0.1, 0.2)[0].tolist() == [0.1, 0.1, 0.2]
