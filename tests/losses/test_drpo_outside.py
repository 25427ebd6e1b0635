"""The variant that regularises outside of the region alone."""

import pytest
import torch

from frpo_verl.losses.drpo import drpo, drpo_weight
from frpo_verl.losses.drpo_outside import drpo_outside, drpo_outside_weight


@pytest.mark.parametrize(
    ("pi", "advantage", "loss", "weight"),
    [
        # inside: −A·r
        (0.25, 1.0, -1.25, 1.0),
        (0.15, -1.0, 0.75, 1.0),
        # outside, δ = 0.0625: r = 1.5, μ(r − 1)² = 0.05: −1.5 + 0.05/0.125; w = 1 − 0.1/0.0625
        (0.3, 1.0, -1.1, -0.6),
        # on its way back from outside it is pulled the harder
        (0.3, -1.0, 1.9, 2.6),
    ],
)
def test_goldens(pi, advantage, loss, weight):
    old, new, advantages = (torch.tensor([[value]], dtype=torch.float64) for value in (0.2, pi, advantage))
    assert drpo_outside(old.log(), new.log(), advantages, 0.0625, 0.0625).item() == pytest.approx(loss, abs=1e-12)
    found = drpo_outside_weight(old.log(), new.log(), advantages, 0.0625, 0.0625).item()
    assert found == pytest.approx(weight, abs=1e-12)


def test_inside_it_is_the_plain_surrogate_and_outside_drpo():
    old, new = torch.rand(2, 20, 50, dtype=torch.float64).clamp(min=1e-3).log()
    advantages = torch.randn(20, 50, dtype=torch.float64)
    outside = (new.exp() - old.exp()).abs() > 0.1 + 0.2 * (advantages > 0).double()
    assert 100 < outside.sum() < 900
    given = old, new, advantages, 0.1, 0.3
    loss, weight = drpo_outside(*given), drpo_outside_weight(*given)
    assert torch.equal(loss[outside], drpo(*given)[outside])
    assert torch.equal(weight[outside], drpo_weight(*given)[outside])
    assert torch.equal(loss[~outside], (-advantages * torch.exp(new - old))[~outside])
    assert torch.equal(weight[~outside], torch.ones_like(weight)[~outside])


def test_the_edge_of_the_region_is_inside():
    old, new = torch.tensor([[0.25]]).log(), torch.tensor([[0.5]]).log()
    gap = (0.25 * torch.expm1(new - old)).item()
    assert drpo_outside_weight(old, new, torch.ones(1, 1), gap, gap).item() == 1


@pytest.mark.parametrize("delta", [1.0, 2.5, 12.5])
def test_a_region_as_wide_as_a_probability_has_no_outside(delta):
    old, new = torch.rand(2, 20, 50, dtype=torch.float64).clamp(min=1e-9).log()
    advantages = torch.randn(20, 50, dtype=torch.float64)
    assert torch.equal(drpo_outside_weight(old, new, advantages, delta, delta), torch.ones(20, 50).double())
