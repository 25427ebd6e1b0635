"""SPO's goldens, its stationary point, the χ² identity, and DRPO as SPO with ε = δ/μ."""

import pytest
import torch

from frpo_verl.losses.drpo import drpo, drpo_weight
from frpo_verl.losses.spo import spo, spo_weight


@pytest.mark.parametrize(
    ("mu", "pi", "advantage", "loss", "weight"),
    [
        # r = 1.5, ε = 0.25: −2·1.5 + 2/0.5·0.25; w = 1 − 0.5/0.25
        (0.2, 0.3, 2.0, -2.0, -1.0),
        (0.2, 0.3, -2.0, 4.0, 3.0),
        # unbounded: r = 9
        (0.1, 0.9, -1.0, 137.0, 33.0),
        (0.1, 0.1, 1.0, -1.0, 1.0),
    ],
)
def test_goldens(mu, pi, advantage, loss, weight):
    old, new, advantages = (torch.tensor([[value]], dtype=torch.float64) for value in (mu, pi, advantage))
    assert spo(old.log(), new.log(), advantages, 0.25, 0.25).item() == pytest.approx(loss, abs=1e-11)
    assert spo_weight(old.log(), new.log(), advantages, 0.25, 0.25).item() == pytest.approx(weight, abs=1e-11)


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
@pytest.mark.parametrize(("sign", "best"), [(1, 0.36), (-1, 0.27)])
def test_a_token_is_best_at_the_edge_of_the_ratios_region(size, sign, best):
    pi = torch.linspace(0.0001, 1, 10_000, dtype=torch.float64)[None]
    objective = -spo(torch.full_like(pi, 0.3).log(), pi.log(), torch.full_like(pi, sign * size), 0.1, 0.2)
    # the grid's step
    assert pi[0, objective.argmax()].item() == pytest.approx(best, abs=1e-4)


def test_in_expectation_the_regulariser_is_chi_square_weighted_by_the_advantage():
    old, new = torch.log_softmax(2 * torch.randn(2, 1, 9, dtype=torch.float64), -1)
    mu, pi, advantages = old.exp(), new.exp(), torch.randn(1, 9, dtype=torch.float64)
    regulariser = spo(old, new, advantages, 0.07, 0.3) + advantages * pi / mu
    epsilon = 0.07 + 0.23 * (advantages > 0).double()
    expected = (advantages.abs() / (2 * epsilon) * (pi - mu) ** 2 / mu).sum()
    assert (mu * regulariser).sum().item() == pytest.approx(expected.item(), rel=1e-10)


def test_drpo_is_spo_whose_region_is_wider_where_the_behaviour_is_rarer():
    old, new = torch.log_softmax(2 * torch.randn(2, 1, 9, dtype=torch.float64), -1)
    advantages = torch.randn(1, 9, dtype=torch.float64)
    for token in range(9):
        one = slice(token, token + 1)
        given = old[:, one], new[:, one], advantages[:, one]
        epsilon = 0.2 / old[0, token].exp().item()
        assert torch.allclose(spo(*given, epsilon, epsilon), drpo(*given, 0.2, 0.2), rtol=1e-10, atol=0)
        assert torch.allclose(spo_weight(*given, epsilon, epsilon), drpo_weight(*given, 0.2, 0.2), rtol=1e-10)
