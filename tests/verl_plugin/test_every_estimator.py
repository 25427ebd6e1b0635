"""`kl_mode=future` on every estimator that verl registers, through verl's own `compute_advantage`.

What the mode means for each is the line beside its name: the estimator does what it always does, and then every valid
token loses β times the divergence from it on.
"""

from copy import deepcopy

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.preflight import native
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import hooks

pytest.importorskip("verl")

from verl import DataProto  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, AdvantageEstimator, register_adv_est  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

BETA = 0.3

MEANING = {
    "gae": "the whitened GAE advantage less the term; the critic's targets stay those of the reward",
    "grpo": "frpo",
    "grpo_vectorized": "frpo, by verl's other implementation of the group statistics",
    "grpo_passk": "only a group's best response carries reward, every response carries the term",
    "gdpo": "the whitened sum of the rewards' own normalisations, less the term",
    "reinforce_plus_plus": "the whitened return, less the term: β is in units of the batch's standard deviation",
    "reinforce_plus_plus_baseline": "the whitened group-centred reward, less the term",
    "remax": "the return above that of the greedy response, less the term",
    "rloo": "the leave-one-out reward, less the term: the gradient of E r − β·D itself",
    "rloo_vectorized": "rloo, by verl's other implementation",
    "opo": "the reward above its length-weighted mean, less the term",
    "gpg": "the group-centred reward times GPG's scale, less the term",
    "optimal_token_baseline": "the reward above a baseline per token, less the term",
    "tir_optimal_token_baseline": "the same per turn, less the term",
}


def v1_utils():
    """verl 0.8 has no V1 trainer."""
    return pytest.importorskip("verl.trainer.ppo.v1.utils")


def algorithm(estimator: str, **changes):
    return OmegaConf.create(
        {
            "adv_estimator": estimator,
            "kl_penalty": "kl",
            "kl_ctrl": {"type": "fixed", "kl_coef": BETA},
            "norm_adv_by_std_in_grpo": True,
            "gamma": 1.0,
            "lam": 1.0,
            **changes,
        }
    )


def batch(rows: int = 6, length: int = 5) -> DataProto:
    """All that any of the estimators reads."""
    lengths = torch.randint(2, length + 1, (rows, 1))
    mask = (torch.arange(length) < lengths).long()
    rewards = torch.zeros(rows, length)
    rewards[:, 0] = torch.randn(rows)
    tensors = {
        "token_level_rewards": rewards,
        "token_level_scores": rewards,
        "response_mask": mask,
        "prompts": torch.ones(rows, 2, dtype=torch.long),
        "attention_mask": torch.cat([torch.ones(rows, 2, dtype=torch.long), mask], -1),
        "old_log_probs": -torch.rand(rows, length),
        "ref_log_prob": -torch.rand(rows, length),
        "values": torch.randn(rows, length),
        "reward_baselines": torch.randn(rows),
        "sum_pi_squared": torch.rand(rows, length),
    }
    non_tensors = {
        "uid": np.array([f"prompt-{row // 3}" for row in range(rows)], dtype=object),
        "first": np.array(torch.randn(rows).tolist(), dtype=object),
        "second": np.array(torch.randn(rows).tolist(), dtype=object),
    }
    return DataProto.from_dict(tensors=tensors, non_tensors=non_tensors)


def run(data: DataProto, estimator: str, **changes) -> DataProto:
    if estimator != "remax" and "reward_baselines" in data.batch:
        # verl hands them to every estimator, and not every one takes them
        data.batch.pop("reward_baselines")
    config = algorithm(estimator, gdpo_reward_keys=["first", "second"], **changes)
    return compute_advantage(data, adv_estimator=estimator, config=config)


def term(data: DataProto) -> torch.Tensor:
    """Σ_{j≥t} m δ, by a loop from the end."""
    delta = (data.batch["old_log_probs"] - data.batch["ref_log_prob"]) * data.batch["response_mask"]
    result, later = torch.zeros_like(delta), torch.zeros(len(delta))
    for t in reversed(range(delta.shape[1])):
        later = later + delta[:, t]
        result[:, t] = later
    return result * data.batch["response_mask"]


def test_every_estimator_that_verl_registers_has_its_line():
    ours_and_tests = {"frpo", "of_a_user"}
    assert set(MEANING) == {member.value for member in AdvantageEstimator}
    assert set(MEANING) == set(ADV_ESTIMATOR_REGISTRY) - ours_and_tests


@pytest.mark.parametrize("estimator", MEANING)
def test_the_term_comes_after_the_estimators_own_advantage(estimator):
    data = batch()
    plain = run(deepcopy(data), estimator)
    regularised = run(deepcopy(data), estimator, kl_mode="future")
    valid = data.batch["response_mask"].bool()
    difference = plain.batch["advantages"] - regularised.batch["advantages"]
    # float32: the advantage is of order 1
    assert torch.allclose(difference[valid], BETA * term(data)[valid], rtol=0, atol=1e-6)
    assert not torch.equal(plain.batch["advantages"], regularised.batch["advantages"])


@pytest.mark.parametrize("estimator", MEANING)
def test_returns_stay_the_estimators_own(estimator):
    data = batch()
    plain = run(deepcopy(data), estimator)
    regularised = run(deepcopy(data), estimator, kl_mode="future")
    valid = data.batch["response_mask"].bool()
    assert torch.allclose(regularised.batch["returns"][valid], plain.batch["returns"][valid], rtol=0, atol=1e-6)


@pytest.mark.parametrize("estimator", MEANING)
def test_beta_zero_and_no_mode_are_the_estimator_to_the_bit(estimator):
    data = batch()
    data.batch.pop("ref_log_prob")
    plain = run(deepcopy(data), estimator)
    off = run(data, estimator, kl_mode="future", kl_ctrl={"type": "fixed", "kl_coef": 0})
    for key in ("advantages", "returns"):
        assert torch.equal(off.batch[key], plain.batch[key])


def test_frpo_is_grpo_with_the_mode_to_the_bit():
    data = batch()
    expected = run(deepcopy(data), "frpo")
    found = run(data, "grpo", kl_mode="future")
    for key in ("advantages", "returns"):
        assert torch.equal(found.batch[key], expected.batch[key])


def test_frpo_is_grpo_with_the_mode_in_rollouts_of_several_outputs_too():
    data = batch()
    keys = ["a_0_0", "a_0_1", "a_1_0", "b_0_0", "b_1_0", "b_1_1"]
    data.non_tensor_batch["uid"] = np.array([key[0] for key in keys], dtype=object)

    def v1(estimator: str, **changes) -> torch.Tensor:
        config = algorithm(estimator, **changes)
        done = v1_utils().compute_advantage_for_multi_trajectories(
            deepcopy(data), batch_keys=keys, adv_estimator=estimator, config=config
        )
        return done.batch["advantages"]

    assert torch.equal(v1("frpo"), v1("grpo", kl_mode="future"))
    valid = data.batch["response_mask"].bool()
    assert torch.allclose((v1("grpo") - v1("frpo"))[valid], BETA * term(data)[valid], rtol=0, atol=1e-6)


@pytest.mark.parametrize("estimator", ["grpo", "rloo"])
def test_v1s_centring_leaves_out_all_outputs_of_the_rollout(estimator):
    data = batch()
    keys = ["a_0_0", "a_0_1", "a_1_0", "b_0_0", "b_1_0", "b_1_1"]
    data.non_tensor_batch["uid"] = np.array([key[0] for key in keys], dtype=object)
    if "reward_baselines" in data.batch:
        data.batch.pop("reward_baselines")
    plain, found = (
        v1_utils()
        .compute_advantage_for_multi_trajectories(
            deepcopy(data), batch_keys=keys, adv_estimator=estimator, config=algorithm(estimator, **changes)
        )
        .batch["advantages"]
        for changes in ({}, {"kl_mode": "future", "frpo": {"centring": "group"}})
    )
    valid, reg = data.batch["response_mask"].bool(), term(data)
    for row, key in enumerate(keys):
        others = [n for n, other in enumerate(keys) if other[0] == key[0] and other[:3] != key[:3]]
        mean = torch.cat([reg[n][valid[n]] for n in others]).mean()
        expected = plain[row] - BETA * (reg[row] - mean)
        assert torch.allclose(found[row][valid[row]], expected[valid[row]], rtol=0, atol=1e-6)


def test_v1_takes_the_term_once_for_estimators_that_it_passes_on():
    data = batch()
    keys = [f"{uid}_{row}_0" for row, uid in enumerate(data.non_tensor_batch["uid"])]
    config = algorithm("rloo", kl_mode="future")
    done = v1_utils().compute_advantage_for_multi_trajectories(
        deepcopy(data), batch_keys=keys, adv_estimator="rloo", config=config
    )
    assert torch.equal(done.batch["advantages"], run(data, "rloo", kl_mode="future").batch["advantages"])


def test_a_mode_of_verls_own_is_left_to_verl(monkeypatch):
    from verl.trainer.config import AlgoConfig

    monkeypatch.setitem(AlgoConfig.__dataclass_fields__, "kl_mode", None)
    data = batch()
    alone = run(deepcopy(data), "rloo").batch["advantages"]
    assert torch.equal(run(deepcopy(data), "rloo", kl_mode="future").batch["advantages"], alone)
    # `frpo` is still ours there.
    assert not torch.equal(run(data, "frpo").batch["advantages"], alone)


def test_an_frpo_of_verls_own_is_left_to_verl(monkeypatch):
    def of_verl(token_level_rewards, response_mask, **rest):
        return 7.0 * response_mask, 7.0 * response_mask

    of_verl.__module__ = "verl.trainer.ppo.core_algos"
    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "frpo", of_verl)
    data = batch()
    for changes in ({}, {"kl_mode": "future"}):
        done = run(deepcopy(data), "frpo", **changes)
        assert torch.equal(done.batch["advantages"], 7.0 * data.batch["response_mask"])


def test_an_frpo_of_somebody_elses_is_refused_and_not_taken_for_verls(monkeypatch):
    def of_a_user(token_level_rewards, response_mask, **rest):
        return response_mask, response_mask

    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "frpo", of_a_user)
    assert not native.is_left_to_host("frpo")
    with pytest.raises(
        HostError, match=r"^adv_estimator=frpo: .*test_every_estimator has registered .*; give it another"
    ):
        hooks._register_estimator(core_algos)


def test_an_estimator_of_the_users_own():
    @register_adv_est("of_a_user")
    def of_a_user(token_level_rewards, response_mask, **rest):
        advantages = token_level_rewards.sum(-1, keepdim=True) * response_mask
        return advantages, advantages

    try:
        data = batch()
        plain = run(deepcopy(data), "of_a_user")
        found = run(deepcopy(data), "of_a_user", kl_mode="future")
        difference = plain.batch["advantages"] - found.batch["advantages"]
        assert torch.allclose(difference, BETA * term(data), rtol=0, atol=1e-6)
        # the host handed out one tensor for both: the returns must not have moved with the advantages
        assert torch.equal(found.batch["returns"], plain.batch["returns"])
    finally:
        del core_algos.ADV_ESTIMATOR_REGISTRY["of_a_user"]


def test_an_estimator_that_raises_is_heard_under_the_mode():
    @register_adv_est("raises")
    def raises(**everything):
        raise RuntimeError("the estimator failed")

    try:
        # as it is: what it does to a run is what any exception of the trainer's does
        with pytest.raises(RuntimeError, match=r"^the estimator failed$"):
            run(batch(), "raises", kl_mode="future")
    finally:
        del core_algos.ADV_ESTIMATOR_REGISTRY["raises"]


def test_gaes_resampled_batch_gets_the_term_of_its_own_rows():
    data = batch()
    changes = {"use_pf_ppo": True, "pf_ppo": {"reweight_method": "pow", "weight_pow": 2.0}}
    torch.manual_seed(3)
    plain = run(deepcopy(data), "gae", **changes)
    torch.manual_seed(3)
    found = run(deepcopy(data), "gae", kl_mode="future", **changes)
    assert torch.equal(plain.batch["old_log_probs"], found.batch["old_log_probs"])
    assert not torch.equal(found.batch["old_log_probs"], data.batch["old_log_probs"])
    valid = found.batch["response_mask"].bool()
    difference = plain.batch["advantages"] - found.batch["advantages"]
    assert torch.allclose(difference[valid], BETA * term(found)[valid], rtol=0, atol=1e-6)
