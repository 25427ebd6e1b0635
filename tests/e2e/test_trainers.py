"""Every trainer of verl beside V1 sync and V0, three steps each, with what only it can show."""

import json

import pytest
from assertions import TWO_MINI_BATCHES, assert_trained_with_the_term

pytestmark = pytest.mark.slow


def test_colocate_async_on_megatron_with_tensor_parallel_and_the_current_policys_term(train):
    run = train(
        "colocate-async",
        recipe="run_qwen3_4b_megatron.sh",
        BETA="0.05",
        NGPUS_PER_NODE="2",
        ACTOR_TP="2",
        overrides=(
            "trainer.v1.trainer_mode=colocate_async",
            "+algorithm.frpo.kl=current",
            "actor_rollout_ref.actor.ppo_epochs=2",
        ),
    )
    assert "algorithm.frpo: kl=current" in run.log
    for step in assert_trained_with_the_term(run):
        # measured by the workers, while the policy moves through four mini-batches, and subtracted there
        assert abs(step["actor/frpo/subtracted/token_mean"]) > 1e-6
        assert abs(step["actor/frpo/drift_from_old/token_mean"]) > 1e-6
    first = run.steps[0]
    assert abs(first["actor/frpo/divergence_to_ref/token_mean"]) > 1e-6


def test_separate_async_with_two_updates_a_step(train):
    run = train(
        "separate-async",
        METHOD="frpo",
        BETA="0.05",
        TRAINER="separate_async",
        MICRO_BATCH="16",
        overrides=("trainer.v1.separate_async.parameter_sync_step=2", TWO_MINI_BATCHES),
    )
    for step in assert_trained_with_the_term(run):
        # two updates a step, averaged by V1's aggregator, do not add up
        assert step["frpo/beta"] == 0.05


def test_one_step_off_on_megatron_with_a_pipeline_and_another_estimator(train):
    run = train(
        "one-step-off",
        METHOD="no_kl",
        BETA="0.05",
        TRAINER="one_step_off",
        ENGINE="megatron",
        NGPUS_PER_NODE="2",
        ACTOR_PP="2",
        MICRO_BATCH="16",
        overrides=("algorithm.adv_estimator=rloo", "+algorithm.kl_mode=future"),
    )
    assert "adv_estimator=rloo with kl_mode=future, beta=0.05" in run.log
    assert_trained_with_the_term(run)


def test_fully_async_with_an_adaptive_beta_in_its_checkpoints(train):
    run = train(
        "fully-async",
        recipe="run_qwen3_4b_fully_async_fsdp2.sh",
        BETA="0.05",
        SAVE_FREQ="1",
        REQUIRE_BATCHES="2",
        overrides=(
            "algorithm.kl_ctrl.type=adaptive",
            "algorithm.kl_ctrl.target_kl=1.0",
            "algorithm.kl_ctrl.horizon=1000",
        ),
    )
    # it never validates its configuration: this is said on the way to Ray
    said = run.log.index("adv_estimator=frpo, beta=0.05 (algorithm.kl_ctrl.kl_coef)")
    assert said < run.log.index("ray init kwargs")
    steps = assert_trained_with_the_term(run)
    # far below the target: −20 % of 8 × 5 responses in 1000, every step
    expected = [0.05 * (1 - 0.2 * 40 / 1000) ** n for n in range(4)]
    assert [step["frpo/beta"] for step in steps] == pytest.approx(expected[:3], rel=1e-9)
    folder = run.directory / "checkpoints"
    last = int((folder / "latest_checkpointed_iteration.txt").read_text())
    assert json.loads((folder / f"global_step_{last}" / "frpo_verl.json").read_text())["beta"] in [
        pytest.approx(beta, rel=1e-12) for beta in expected
    ]
