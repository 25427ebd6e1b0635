"""The step after the advantage, with a toy: through V0's and V1's functions, with and without the term."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS, TokenWeight
from frpo_verl.preflight.errors import BatchError, SettingsError
from frpo_verl.verl_plugin import token_weights

pytest.importorskip("verl")

from verl import DataProto  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

KEYS = ["a_0_0", "a_1_0", "b_0_0", "b_1_0"]


def by_token_id(fields, group, algorithm):
    """Even tokens count twice in the first group, and half of them, by a key of its own, in the second."""
    even = fields["responses"] % 2 == 0
    factor = torch.where(group == 0, 2.0, algorithm.get("toy_factor"))[:, None]
    return torch.where(even & fields["response_mask"].bool(), factor, torch.ones(()))


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", TokenWeight(by_token_id, ("responses",)))


def batch() -> DataProto:
    rewards, mask = torch.zeros(4, 5), torch.ones(4, 5, dtype=torch.long)
    rewards[:, 0], mask[1, 3:], mask[2, 1] = torch.randn(4), 0, 0
    tensors = {
        "token_level_rewards": rewards,
        "response_mask": mask,
        "responses": torch.randint(100, (4, 5)),
        "old_log_probs": -torch.rand(4, 5),
        "ref_log_prob": -torch.rand(4, 5),
    }
    return DataProto.from_dict(tensors, {"uid": np.array([key[0] for key in KEYS], dtype=object)})


def algorithm(estimator: str = "grpo", **changes):
    kl_ctrl = {"type": "fixed", "kl_coef": 0.3}
    section = {"adv_estimator": estimator, "kl_penalty": "kl", "kl_ctrl": kl_ctrl, "toy_factor": 0.5}
    return OmegaConf.create({**section, **changes})


def v0(data: DataProto, estimator: str = "grpo", **changes) -> DataProto:
    return compute_advantage(data, adv_estimator=estimator, config=algorithm(estimator, **changes))


def v1(data: DataProto, estimator: str = "grpo", **changes) -> DataProto:
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")
    config = algorithm(estimator, **changes)
    return utils.compute_advantage_for_multi_trajectories(data, batch_keys=KEYS, adv_estimator=estimator, config=config)


def expected_weights(data: DataProto) -> torch.Tensor:
    rows = []
    for row, ids in enumerate(data.batch["responses"].tolist()):
        factor = 2.0 if row < 2 else 0.5
        rows.append([factor if i % 2 == 0 else 1.0 for i in ids])
    return torch.tensor(rows)


@pytest.mark.parametrize("changes", [{}, {"kl_mode": "future"}, {"kl_mode": "future", "frpo": {"scale": "length"}}])
@pytest.mark.parametrize("estimator", ["grpo", "frpo", "rloo"])
@pytest.mark.parametrize("trainer", [v0, v1])
def test_the_advantage_is_multiplied_once_after_all_else(trainer, estimator, changes):
    data = batch()
    plain = trainer(deepcopy(data), estimator, **changes)
    found = trainer(deepcopy(data), estimator, token_weight="toy", **changes)
    expected = plain.batch["advantages"] * expected_weights(data)
    assert torch.equal(found.batch["advantages"], expected)
    assert not torch.equal(expected, plain.batch["advantages"])
    # verl hands out one tensor for both
    assert torch.equal(found.batch["returns"], plain.batch["returns"])


def test_v1s_trainer_fetches_what_it_has_not(monkeypatch):
    transfer_queue = pytest.importorskip("transfer_queue")
    data = batch()
    expected = v1(deepcopy(data), token_weight="toy").batch["advantages"]
    asked = []

    def kv_batch_get(keys, partition_id, select_fields):
        asked.append((keys, partition_id, select_fields))
        ids = [row[:length] for row, length in zip(data.batch["responses"], (5, 3, 5, 5), strict=True)]
        jagged = torch.nested.as_nested_tensor(ids, layout=torch.jagged)
        from tensordict import TensorDict

        return TensorDict({"responses": jagged}, batch_size=4)

    monkeypatch.setattr(transfer_queue, "kv_batch_get", kv_batch_get)
    without = data.select([name for name in data.batch.keys() if name != "responses"])

    def host(trainer, batch, metrics):
        return v1(without, token_weight="toy")

    sent = SimpleNamespace(keys=KEYS, partition_id="train")
    found = token_weights.with_more_fields(host, None, sent, metrics={})
    assert asked == [(KEYS, "train", ["responses"])]
    assert torch.equal(found.batch["advantages"], expected)


def test_v1s_trainer_is_wrapped():
    v1_trainer = pytest.importorskip("verl.trainer.ppo.v1.trainer_base", reason="verl 0.8 has no V1 trainer")
    inner = v1_trainer.PPOTrainer._compute_advantage.__wrapped__
    assert inner._frpo_verl_wrapper is token_weights.with_more_fields


def test_what_weights_need_and_the_batch_has_not_is_named():
    data = batch()
    data.batch.pop("responses")
    with pytest.raises(BatchError, match="the token weight needs responses in the batch, which holds"):
        v0(data, token_weight="toy")


@pytest.mark.parametrize(
    "weights", [torch.ones(4, 1), torch.full((4, 5), torch.nan)], ids=["one column", "not a number"]
)
def test_weights_that_no_advantage_can_be_multiplied_by_are_named(monkeypatch, weights):
    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", TokenWeight(lambda *given: weights, ()))
    with pytest.raises(BatchError, match=r"token_weight=toy returned weights of shape \(4, \d\).*look at the method"):
        v0(batch(), token_weight="toy")


def test_masked_slots_keep_what_stands_there(monkeypatch):
    data = batch()
    masked = data.batch["response_mask"] == 0
    monkeypatch.setitem(TOKEN_WEIGHTS, "toy", TokenWeight(lambda *given: torch.where(masked, torch.nan, 2.0), ()))
    assert not v0(data, token_weight="toy").batch["advantages"][masked].any()


def test_an_unknown_method_and_the_current_policys_term_are_refused():
    with pytest.raises(SettingsError, match=r"token_weight=lambda: there is no such method \(toy\); correct it"):
        token_weights.chosen(algorithm(token_weight="lambda"))
    with pytest.raises(SettingsError, match=r"token_weight=toy with algorithm\.frpo\.kl=current: .*set .*kl=rollout"):
        token_weights.chosen(algorithm(token_weight="toy", frpo={"kl": "current"}))
    assert token_weights.chosen(None) is token_weights.chosen(algorithm()) is None
