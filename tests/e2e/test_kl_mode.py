"""The KL mode through verl's real V1 trainer, until a worker raises, the driver is killed, and the disk is full."""

import json
import math

import pytest
from assertions import WITHIN_SECONDS, assert_fault_ended_it, assert_leaves_the_reference, assert_updates

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


def assert_trajectory(steps: list[dict[str, float]]) -> None:
    for earlier, later in zip(steps, steps[1:], strict=False):
        # verl's file logger keeps every digit
        assert later["frpo/beta"] == pytest.approx(next_beta(earlier), rel=1e-9)


def test_lora_with_an_adaptive_beta_that_resumes_where_a_kill_left_it_until_the_disk_is_full(start, train):
    with start("adaptive-killed", overrides=ADAPTIVE, **LORA) as killed:
        killed.wait_between_checkpoints(3)
        killed.kill()
    saved_at = killed.saved()
    folder = killed.run.directory / "checkpoints"
    saved = json.loads((folder / f"global_step_{saved_at}" / "frpo_verl.json").read_text())
    until_kill = killed.steps()[:saved_at]
    assert len(until_kill) == saved_at
    assert_trajectory(until_kill)
    assert saved["beta"] == pytest.approx(next_beta(until_kill[-1]), rel=1e-12)
    # a fresh adapter, which is taken off for the reference, is the base model; after an update it is not
    assert_leaves_the_reference(until_kill)
    assert all(step["timing_s/ref"] > 0 for step in until_kill)

    # its second checkpoint finds no room
    there = f"trainer.default_local_dir={folder}"
    resumed = train("adaptive-resumed-disk-full", fault="disk_full", overrides=(*ADAPTIVE, there), **LORA)
    assert f"resumed from {folder}/global_step_{saved_at}/frpo_verl.json" in resumed.log
    assert_updates(resumed, resumed.steps, 1)
    assert_trajectory([*until_kill, *resumed.steps])
    # and it had moved: the checks above could not fail otherwise
    assert saved["beta"] != pytest.approx(0.05, rel=1e-3)
    assert resumed.status != 0
    assert resumed.fault_seconds < WITHIN_SECONDS
    assert f"CheckpointError: the checkpoint of step {saved_at + 2} could not be written to {folder} (" in resumed.log
    assert f"the last one that counts, global_step_{saved_at + 1}, is untouched: make room" in resumed.log
    assert killed.saved() == saved_at + 1
