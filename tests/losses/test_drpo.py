"""DRPO's theorems: goldens, bounds of the weight, the stationary point, the l2 identity, DPPO's region."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.losses.drpo import drpo, drpo_weight

log_probs = st.floats(-12, 0)
# above the resolution of a probability near one
deltas = st.floats(0.01, 20)


def tensors(*values: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([[value]], dtype=torch.float64) for value in values)


@pytest.mark.parametrize(
    ("mu", "pi", "advantage", "loss", "weight"),
    [
        # r = 1.5, μ(r − 1)² = 0.05, δ = 0.1: −2·1.5 + 2/0.2·0.05; w = 1 − 0.1/0.1
        (0.2, 0.3, 2.0, -2.5, 0.0),
        (0.2, 0.3, -2.0, 3.5, 2.0),
        # r = 0.5, the same square
        (0.2, 0.1, 2.0, -0.5, 2.0),
        (0.2, 0.1, -2.0, 1.5, 0.0),
        # r = 2.5, μ(r − 1)² = 0.45: −2.5 + 0.45/0.2; w = 1 − 0.3/0.1: it pushes back
        (0.2, 0.5, 1.0, -0.25, -2.0),
        (0.2, 0.2, 1.0, -1.0, 1.0),
    ],
)
def test_goldens(mu, pi, advantage, loss, weight):
    old, new, advantages = torch.log(tensors(mu)[0]), torch.log(tensors(pi)[0]), *tensors(advantage)
    assert drpo(old, new, advantages, 0.1, 0.1).item() == pytest.approx(loss, abs=1e-12)
    assert drpo_weight(old, new, advantages, 0.1, 0.1).item() == pytest.approx(weight, abs=1e-12)


@given(log_probs, log_probs, st.floats(-3, 3), deltas, deltas)
def test_the_weight_is_bounded_whatever_the_ratio(old, new, advantage, low, high):
    weight = drpo_weight(*tensors(old, new, advantage), low, high).item()
    delta = high if advantage > 0 else low
    assert 1 - 1 / delta <= weight <= 1 + 1 / delta


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
@pytest.mark.parametrize(
    ("mu", "sign", "low", "high", "best"),
    [
        (0.3, 1, 9.0, 0.15, 0.45),
        (0.3, -1, 0.15, 9.0, 0.15),
        (0.5, 1, 9.0, 0.2, 0.7),
        (0.34, -1, 0.04, 9.0, 0.3),
        # the region reaches beyond a probability: as far as the ends
        (0.9, 1, 9.0, 0.2, 1.0),
        (0.1, -1, 0.2, 9.0, 0.0001),
    ],
)
def test_a_token_is_best_at_the_edge_of_the_region_whatever_the_size_of_its_advantage(mu, sign, low, high, best, size):
    pi = torch.linspace(0.0001, 1, 10_000, dtype=torch.float64)[None]
    old = torch.full_like(pi, mu).log()
    objective = -drpo(old, pi.log(), torch.full_like(pi, sign * size), low, high)
    # the grid's step
    assert pi[0, objective.argmax()].item() == pytest.approx(best, abs=1e-4)


def test_in_expectation_the_regulariser_is_the_squared_distance_weighted_by_the_advantage():
    old, new = torch.log_softmax(2 * torch.randn(2, 1, 9, dtype=torch.float64), -1)
    mu, pi, advantages = old.exp(), new.exp(), torch.randn(1, 9, dtype=torch.float64)
    regulariser = drpo(old, new, advantages, 0.07, 0.3) + advantages * pi / mu
    delta = 0.07 + 0.23 * (advantages > 0).double()
    expected = (advantages.abs() / (2 * delta) * (pi - mu) ** 2).sum()
    assert (mu * regulariser).sum().item() == pytest.approx(expected.item(), rel=1e-10)


def test_it_turns_back_the_tokens_that_dppo_leaves_alone_and_no_others():
    pytest.importorskip("verl")
    from types import SimpleNamespace

    from verl.trainer.ppo import core_algos

    low, high = 0.1, 0.25
    config = SimpleNamespace(
        clip_ratio=9.0, clip_ratio_low=low, clip_ratio_high=high, get=lambda *key: 1e9, global_batch_info={}
    )
    old, new = torch.rand(2, 20, 50, dtype=torch.float64).clamp(min=1e-3).log()
    new.requires_grad_()
    advantages = torch.randn(20, 50, dtype=torch.float64)
    loss, _ = core_algos.get_policy_loss_fn("dppo_tv")(
        old_log_prob=old,
        log_prob=new,
        advantages=advantages,
        response_mask=torch.ones(20, 50, dtype=torch.bool),
        loss_agg_mode="token-mean",
        config=config,
    )
    # its surrogate has log π as a factor, so that its gradient is masked where the mask is
    (gradient,) = torch.autograd.grad(1000 * loss, new)
    weight = drpo_weight(old, new.detach(), advantages, low, high)
    left_alone = gradient == 0
    assert 100 < left_alone.sum() < 900
    assert torch.equal(left_alone, weight < 0)
    # elsewhere the two differ by the weight alone
    (ours,) = torch.autograd.grad(drpo(old, new, advantages, low, high).sum(), new)
    assert torch.allclose(ours[~left_alone], (gradient * weight)[~left_alone], rtol=1e-10, atol=0)


def test_a_whole_softmax_is_best_where_the_tokens_share_a_multiplier():
    mu = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    advantages = torch.tensor([[0.5, -0.25, -0.8]], dtype=torch.float64)
    # Σ π = 1 over π = μ + δ·(sign(A) − λ/|A|): λ = Σ sign(A) / Σ 1/|A|
    multiplier = -1 / (1 / 0.5 + 1 / 0.25 + 1 / 0.8)
    best = mu + 0.05 * (torch.sign(advantages) - multiplier / advantages.abs())
    assert best.sum().item() == pytest.approx(1) and (best > 0).all()
    for point, is_best in ((best, True), (mu, False)):
        logits = point.log().requires_grad_()
        loss = (mu * drpo(mu.log(), torch.log_softmax(logits, -1), advantages, 0.05, 0.05)).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient.abs().max().item() < 1e-14) is is_best
