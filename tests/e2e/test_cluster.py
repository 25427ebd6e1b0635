"""FRPO on a Ray cluster that was started beforehand: two nodes, and one that dies."""

import time

import pytest
from assertions import EXACT, LEFT_THE_REFERENCE, SAME_WEIGHTS, assert_server_follows, assert_trained_with_the_term
from nodes import two_nodes

pytestmark = pytest.mark.slow

WITHIN_SECONDS = 60


def test_two_nodes_train_and_have_the_advantages_of_one(on_two_nodes_and_one):
    together, alone = on_two_nodes_and_one
    assert_trained_with_the_term(together)
    # both of them
    assert_server_follows(together)
    assert_trained_with_the_term(alone)
    for ours, theirs in zip(together.steps, alone.steps, strict=True):
        exact = [name for name in theirs if name.startswith(EXACT) and "advantages" not in name]
        assert {"critic/score/mean", "response_length/mean"} <= set(exact)
        assert {name: ours[name] for name in exact} == {name: theirs[name] for name in exact}
        for name in theirs:
            if name.startswith(("critic/advantages/", "frpo/", "actor/frpo/")):
                # the term is made of log-probs, whose last digits depend on the rows beside them
                assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=2e-5), name
        assert theirs["critic/advantages/max"] > 0.5


def test_a_node_that_dies_ends_the_run_and_its_checkpoint_is_resumed_elsewhere(start, train, tmp_path):
    on_megatron = {"recipe": "run_qwen3_1.7b_megatron.sh", "BETA": "0.05", "SAVE_FREQ": "1"}
    with two_nodes(tmp_path, places=1) as cluster:
        with start("node-dies", STEPS="50", cluster=cluster, **on_megatron) as started:
            run = started.run
            folder = run.directory / "checkpoints"
            tracker, deadline = folder / "latest_checkpointed_iteration.txt", time.monotonic() + 300
            while not tracker.exists() or int(tracker.read_text() or 0) < 2:
                assert run.process.poll() is None, run.log.read_text()[-3000:]
                assert time.monotonic() < deadline, run.log.read_text()[-3000:]
                time.sleep(0.5)
            cluster.second.kill()
            died = time.monotonic()
            status = run.process.wait(timeout=WITHIN_SECONDS)
            print(f"\nnode-dies: status {status}, {time.monotonic() - died:.0f} s after the fault")
            assert status != 0
            # a call to what was lost fails, or a wait for it is ended
            reasons = ("ActorDiedError", "ActorUnavailableError", "by peer", "died, and with it")
            assert any(reason in run.log.read_text() for reason in reasons)
    last = int(tracker.read_text())
    resumed = train(
        "resumed-on-one-node",
        NGPUS_PER_NODE="2",
        STEPS=str(last + 2),
        overrides=(f"trainer.default_local_dir={folder}",),
        **on_megatron,
    )
    assert resumed.status == 0, resumed.log[-3000:]
    assert len(resumed.steps) == 2
    for step in resumed.steps:
        # the server samples by what Megatron holds
        assert step["training/rollout_probs_diff_max"] < SAME_WEIGHTS
    # it goes on from the policy that was saved, not from the reference
    assert resumed.steps[0]["frpo/future_term/std"] > LEFT_THE_REFERENCE
