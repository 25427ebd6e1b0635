"""FRPO in real Megatron workers, driven by main_ppo: layouts, weight transfer, checkpoints."""

import json
import time

import pytest
from test_trainers import TWO_MINI_BATCHES, assert_trained

pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

ON_MEGATRON = {"METHOD": "frpo", "BETA": "0.05", "ENGINE": "megatron", "MICRO_BATCH": "16"}


def assert_server_follows(run) -> None:
    """What the server samples by is what Megatron trains: exact weights, other arithmetic."""
    for step in run.steps:
        assert step["training/rollout_probs_diff_max"] < 1e-3


def test_tensor_parallel_with_the_current_policys_term(train):
    run = train(
        "megatron-tp", RANKS="2", TP="2", overrides=("+algorithm.frpo.kl=current", TWO_MINI_BATCHES), **ON_MEGATRON
    )
    for step in assert_trained(run):
        assert abs(step["actor/frpo/subtracted/token_mean"]) > 1e-6
    assert_server_follows(run)


def test_pipeline_parallel(train):
    run = train("megatron-pp", RANKS="2", PP="2", **ON_MEGATRON)
    assert_trained(run)
    assert_server_follows(run)


def test_data_parallel_killed_and_resumed(start, train):
    checkpoints = ("trainer.save_freq=1", "trainer.resume_mode=auto")
    with start("megatron-killed", RANKS="2", STEPS="6", overrides=checkpoints, **ON_MEGATRON) as killed:
        folder = killed.run.directory / "checkpoints"
        tracker, deadline = folder / "latest_checkpointed_iteration.txt", time.monotonic() + 240
        while not tracker.exists() or int(tracker.read_text()) < 2:
            assert killed.run.process.poll() is None, killed.run.log.read_text()[-3000:]
            assert time.monotonic() < deadline, killed.run.log.read_text()[-3000:]
            time.sleep(0.5)
        killed.kill()
        before = killed.steps()
        last = int(tracker.read_text())
    resumed = train(
        "megatron-resumed",
        RANKS="2",
        STEPS=str(last + 2),
        overrides=(*checkpoints, f"trainer.default_local_dir={folder}"),
        **ON_MEGATRON,
    )
    assert resumed.status == 0, resumed.log[-3000:]
    numbers = [
        json.loads(line)["step"] for line in (resumed.directory / "metrics.jsonl").read_text().splitlines() if line
    ]
    assert numbers == [last + 1, last + 2]
    # it goes on from the policy that was saved, not from the reference
    assert abs(resumed.steps[0]["frpo/divergence_to_ref/token_mean"]) > 1e-3
    assert len(before) >= last
    assert_server_follows(resumed)
