"""The KL mode through verl's real trainers, until a worker raises, a server is killed, and the disk is full."""

import json
import math
from pathlib import Path

import pytest
from assertions import (
    assert_anchored,
    assert_fault_ended_it,
    assert_leaves_the_reference,
    assert_updates,
    assert_weighed,
)

pytestmark = pytest.mark.slow


@pytest.mark.thorough
def test_gae_with_a_critic_trains_until_a_worker_raises_while_the_other_rank_waits(train):
    run = train(
        "gae",
        recipe="run_qwen3_1.7b_methods_fsdp2.sh",
        METHOD="gae_kl_reward",
        BETA="0.05",
        NGPUS_PER_NODE="2",
        STEPS="50",
        fault="optimizer_raises",
        FAULT_AFTER_STEPS="2",
        overrides=("algorithm.use_kl_in_reward=False", "+algorithm.kl_mode=future"),
    )
    assert_updates(run, run.steps, 2)
    assert "adv_estimator=gae with kl_mode=future, beta=0.05" in run.log
    for step in run.steps:
        assert math.isfinite(step["critic/vf_loss"])
        assert step["frpo/beta"] == 0.05
    assert_fault_ended_it(run, "RuntimeError: injected: the optimizer step failed")


CONTROL = {"target_kl": 1e-3, "horizon": 100}
ADAPTIVE = (
    "algorithm.kl_ctrl.type=adaptive",
    f"algorithm.kl_ctrl.target_kl={CONTROL['target_kl']}",
    f"algorithm.kl_ctrl.horizon={CONTROL['horizon']}",
    "algorithm.kl_penalty=k3",
)
DRPO = (
    "actor_rollout_ref.actor.policy_loss.loss_mode=drpo",
    # anchored to the policy that sampled
    "algorithm.rollout_correction.bypass_mode=True",
)
LORA = {
    "recipe": "run_qwen3_4b_lora_fsdp2.sh",
    "BETA": "0.05",
    "ACTOR_LR": "1e-2",
    "SAVE_FREQ": "1",
    "STEPS": "50",
}
RESPONSES = 8 * 5


def next_beta(step: dict[str, float]) -> float:
    """Returns β by verl's rule: arXiv 1909.08593, with the responses of the batch as its steps."""
    error = step["frpo/divergence_to_ref/token_mean"] / CONTROL["target_kl"] - 1
    return step["frpo/beta"] * (1 + min(0.2, max(-0.2, error)) * RESPONSES / CONTROL["horizon"])


def last_saved(folder: Path) -> int:
    """Returns the step of the newest checkpoint that counts."""
    return int((folder / "latest_checkpointed_iteration.txt").read_text())


def assert_trajectory(steps: list[dict[str, float]]) -> None:
    for earlier, later in zip(steps, steps[1:], strict=False):
        # verl's file logger keeps every digit
        assert later["frpo/beta"] == pytest.approx(next_beta(earlier), rel=1e-9)


def test_lora_with_an_adaptive_beta_that_resumes_under_v1_where_a_dead_server_left_v0_until_the_disk_is_full(train):
    died = train(
        "adaptive-v0-server-dies",
        fault="server_dies",
        FAULT_AFTER_STEPS="3",
        overrides=(*ADAPTIVE, "trainer.use_v1=False", "+algorithm.token_weight=lambda_grpo"),
        **LORA,
    )
    assert_updates(died, died.steps, 3)
    assert_weighed(died.steps)
    assert_fault_ended_it(died, "EngineDeadError")
    folder = died.directory / "checkpoints"
    assert last_saved(folder) == 3
    saved = json.loads((folder / "global_step_3" / "frpo_verl.json").read_text())
    assert_trajectory(died.steps)
    assert saved["beta"] == pytest.approx(next_beta(died.steps[-1]), rel=1e-12)
    # a fresh adapter, which is taken off for the reference, is the base model; after an update it is not
    assert_leaves_the_reference(died.steps)
    # merged weights are rounded; a server without the adapter would be as far from the policy as the reference is
    for step in died.steps[1:]:
        assert 0 < step["rollout_corr/k3_kl"] < 1e-3 * step["frpo/divergence_to_ref/token_mean"]
    assert all(step["timing_s/ref"] > 0 for step in died.steps)

    # its second checkpoint finds no room
    there = f"trainer.default_local_dir={folder}"
    overrides = (*ADAPTIVE, *DRPO, there)
    resumed = train("adaptive-resumed-disk-full", fault="disk_full", overrides=overrides, **LORA)
    assert f"resumed from {folder}/global_step_3/frpo_verl.json" in resumed.log
    assert_updates(resumed, resumed.steps, 1)
    assert_anchored(resumed.steps)
    assert_trajectory([*died.steps, *resumed.steps])
    # and it had moved: the checks above could not fail otherwise
    assert saved["beta"] != pytest.approx(0.05, rel=1e-3)
    assert_fault_ended_it(resumed, f"CheckpointError: the checkpoint of step 5 could not be written to {folder} (")
    assert "the last one that counts, global_step_4, is untouched: make room" in resumed.log
    assert last_saved(folder) == 4
