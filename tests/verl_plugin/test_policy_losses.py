"""The registration of policy losses, with a toy, through verl's own `ppo_loss`."""

from types import SimpleNamespace

import pytest
import torch

from frpo_verl.losses import LOSSES
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import policy_losses

pytest.importorskip("verl")

from verl.trainer.ppo import core_algos  # noqa: E402


def squared(old_log_prob, log_prob, advantages, response_mask, config):
    """A pure loss, one number per token."""
    return config.toy_scale * (log_prob - old_log_prob).square() - advantages * log_prob


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(LOSSES, "toy", squared)
    monkeypatch.setattr(core_algos, "POLICY_LOSS_REGISTRY", dict(core_algos.POLICY_LOSS_REGISTRY))


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-sum"])
@pytest.mark.parametrize("correction", [None, 0.5])
def test_a_loss_per_token_is_reduced_as_verl_reduces_its_own(toy, mode, correction):
    policy_losses.register(core_algos)
    loss = core_algos.get_policy_loss_fn("toy")
    old, new, advantages = torch.randn(3, 2, 4)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    weights = None if correction is None else torch.full((2, 4), correction)
    config = SimpleNamespace(toy_scale=3.0, global_batch_info={"dp_size": 1})
    found, figures = loss(
        old_log_prob=old,
        log_prob=new,
        advantages=advantages,
        response_mask=mask,
        loss_agg_mode=mode,
        config=config,
        rollout_is_weights=weights,
    )
    total = sum(
        3.0 * (new[i, t] - old[i, t]) ** 2 - advantages[i, t] * new[i, t]
        for i in range(2)
        for t in range(4)
        if mask[i, t]
    )
    expected = (correction or 1.0) * total / (4 if mode == "token-mean" else 2)
    # float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert figures == {}


def test_registering_twice_is_fine_and_a_name_of_verls_is_not_overwritten(toy, monkeypatch):
    policy_losses.register(core_algos)
    policy_losses.register(core_algos)
    monkeypatch.setitem(LOSSES, "gspo", squared)
    theirs = core_algos.get_policy_loss_fn("gspo")
    with pytest.raises(HostError, match="verl has a policy loss 'gspo' of its own; frpo-verl's needs another name"):
        policy_losses.register(core_algos)
    assert core_algos.get_policy_loss_fn("gspo") is theirs
