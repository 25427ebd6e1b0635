"""Tests what verl's trainers hand an estimator: what is said before Ray starts, and what verl does."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from frpo_verl.preflight import estimators, examination

verl = pytest.importorskip("verl")
pytest.importorskip("verl.trainer.ppo.v1.utils", reason="verl 0.8 has no V1 trainer")

from verl import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY  # noqa: E402
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories  # noqa: E402

V0 = "trainer.use_v1=False"
LACKING = {
    "remax": "reward_baselines",
    "gdpo": "the single rewards of algorithm.gdpo_reward_keys",
    "optimal_token_baseline": "sum_pi_squared",
    "tir_optimal_token_baseline": "sum_pi_squared",
}
"""Arguments that verl's V1 trainer does not hand over, by estimator."""


@pytest.fixture(scope="module")
def verls():
    """verl's own configuration, composed once."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer")


@pytest.fixture
def compose(verls):
    """Returns that configuration with overrides."""

    def of(*overrides: str):
        config = deepcopy(verls)
        OmegaConf.set_struct(config, False)
        return OmegaConf.merge(config, OmegaConf.from_dotlist([override.lstrip("+") for override in overrides]))

    return of


@pytest.mark.parametrize("name", sorted(ADV_ESTIMATOR_REGISTRY))
def test_what_is_refused_is_what_ends_at_verls_first_advantage(compose, name):
    config = compose(f"algorithm.adv_estimator={name}", "+algorithm.gdpo_reward_keys=[a,b]")
    problems = list(estimators.problems(config))
    # the fields that V1's `_compute_advantage` fetches, and `old_log_probs`, which it has, too
    fields = ("rm_scores", "token_level_rewards", "old_log_probs", "ref_log_prob", "values")
    tensors = {field: torch.rand(4, 3) for field in fields} | {"response_mask": torch.ones(4, 3).long()}
    data = DataProto.from_dict(tensors, {"uid": np.array(list("aabb"), dtype=object)})
    keys = [f"{uid}_{row}_0" for row, uid in enumerate("aabb")]

    def advantages():
        return compute_advantage_for_multi_trajectories(data, keys, adv_estimator=name, config=config.algorithm)

    if name not in LACKING:
        assert problems == []
        assert "advantages" in advantages().batch
        return
    (problem,) = problems
    assert problem.startswith(
        f"algorithm.adv_estimator={name}: it takes {LACKING[name]}, and verl's V1 trainer does not"
    )
    assert problem.endswith("set trainer.use_v1=False, or choose another estimator")
    with pytest.raises((TypeError, AssertionError, KeyError)):
        advantages()


@pytest.mark.parametrize("mode", [[], ["+algorithm.kl_mode=future"]])
@pytest.mark.parametrize("name", LACKING)
def test_v0_hands_it_over(compose, name, mode):
    squares = "actor_rollout_ref.actor.calculate_sum_pi_squared=True"
    config = compose(f"algorithm.adv_estimator={name}", V0, squares, *mode)
    assert list(estimators.problems(config)) == []


@pytest.mark.parametrize("name", ["optimal_token_baseline", "tir_optimal_token_baseline"])
def test_v0_without_the_squares_is_told_their_key(compose, name):
    (problem,) = estimators.problems(compose(f"algorithm.adv_estimator={name}", V0))
    key = "actor_rollout_ref.actor.calculate_sum_pi_squared"
    assert problem == f"algorithm.adv_estimator={name} with {key}=False: it reads these squares; set {key}=True"


@pytest.mark.parametrize(("section", "lacks"), [("rollout", False), ("async_training", True)])
def test_of_the_asynchronous_trainers_one_samples_the_greedy_response(compose, section, lacks):
    problems = list(estimators.problems(compose("algorithm.adv_estimator=remax", f"+{section}.nnodes=1")))
    assert len(problems) == lacks


@pytest.mark.parametrize("trainer", [[], [V0]])
def test_an_estimator_of_the_users_own_that_takes_more_is_refused(compose, trainer, monkeypatch):
    def more(token_level_rewards, response_mask, index, entropies, config=None, **rest):
        raise AssertionError

    def fits(token_level_rewards, response_mask, *given, temperature=1.0, **rest):
        raise AssertionError

    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "more", more)
    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "fits", fits)
    (problem,) = estimators.problems(compose("algorithm.adv_estimator=more", *trainer))
    assert problem.startswith("algorithm.adv_estimator=more: it takes entropies, and verl's")
    assert list(estimators.problems(compose("algorithm.adv_estimator=fits", *trainer))) == []
    # unknown names are verl's to refuse
    assert list(estimators.problems(compose("algorithm.adv_estimator=nobodys", *trainer))) == []


def test_a_start_ends_with_it(compose):
    config = compose("algorithm.adv_estimator=remax", "+algorithm.kl_mode=future")
    found = examination.examine(config, look_at_machine=False, starting=True)
    assert any(problem.startswith("algorithm.adv_estimator=remax: it takes") for problem in found.problems)
