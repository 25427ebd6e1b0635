"""Each trainer of verl but V1 sync and V0, three steps each, with what only it can show."""

import json

import pytest
from assertions import (
    SAME_WEIGHTS,
    assert_anchored,
    assert_the_sampler_leaves_it,
    assert_trained_with_the_term,
    assert_weighed,
)

pytestmark = pytest.mark.slow


@pytest.mark.thorough
def test_colocate_async_on_megatron_with_expert_parallel_and_the_current_policys_term(train):
    run = train(
        "colocate-async",
        recipe="run_qwen3_30b_a3b_megatron.sh",
        BETA="0.05",
        NGPUS_PER_NODE="2",
        ACTOR_EP="2",
        overrides=(
            "trainer.v1.trainer_mode=colocate_async",
            "actor_rollout_ref.actor.ppo_epochs=2",
        ),
    )
    assert "algorithm.frpo: kl=current" in run.log
    assert_subtracted_by_the_workers(assert_trained_with_the_term(run))
    # Samples of a later step may be older than its weights, as the timing has it; where none is, the server's experts
    # are the trainer's.
    staleness = [step["training/off_policy/trajectory_staleness_worst/max"] for step in run.steps]
    assert staleness[0] == 0
    for step, updates in zip(run.steps, staleness, strict=True):
        assert (step["training/rollout_probs_diff_max"] < SAME_WEIGHTS) == (updates == 0)
    first = run.steps[0]
    assert abs(first["actor/frpo/divergence_to_ref/token_mean"]) > 1e-6


def assert_subtracted_by_the_workers(steps):
    """Checks that the current policy's term is measured while the policy moves through several mini-batches."""
    for step in steps:
        assert abs(step["actor/frpo/subtracted/token_mean"]) > 1e-6
        assert abs(step["actor/frpo/drift_from_old/token_mean"]) > 1e-6


# One more vLLM next to the actor, on the CPU.
A_SERVER = ("actor_rollout_ref.rollout.checkpoint_engine.backend=cpu",)


@pytest.mark.thorough
def test_separate_async_with_two_updates_a_step_of_lambda_grpo_and_drpo(train):
    run = train(
        "separate-async",
        recipe="run_qwen3_4b_dapo_fsdp2.sh",
        BETA="0.05",
        ROLLOUT_NGPUS="1",
        overrides=(
            *A_SERVER,
            "trainer.v1.trainer_mode=separate_async",
            "trainer.v1.separate_async.parameter_sync_step=2",
            "actor_rollout_ref.rollout.nnodes=1",
            "actor_rollout_ref.rollout.n_gpus_per_node=1",
            # weights that are set aside between updates have to be whole
            "actor_rollout_ref.actor.fsdp_config.reshard_after_forward=True",
            "+algorithm.token_weight=lambda_grpo",
            "actor_rollout_ref.actor.policy_loss.loss_mode=drpo",
            # DRPO's anchor is the policy that sampled, which here is up to two updates old
            "algorithm.rollout_correction.bypass_mode=True",
        ),
    )
    steps = assert_trained_with_the_term(run, reference=assert_the_sampler_leaves_it)
    # two updates a step, averaged by V1's aggregator, do not add up
    assert {step["frpo/beta"] for step in steps} == {0.05}
    assert_anchored(steps)
    assert_weighed(steps)


@pytest.mark.thorough
def test_one_step_off_on_megatron_with_a_pipeline_and_another_estimator(train):
    run = train(
        "one-step-off",
        recipe="run_qwen3_4b_megatron.sh",
        MAIN="verl.experimental.one_step_off_policy.main_ppo",
        BETA="0.05",
        NGPUS_PER_NODE="2",
        ACTOR_PP="2",
        ROLLOUT_NGPUS="1",
        overrides=(
            *A_SERVER,
            "hydra.searchpath=[pkg://verl.trainer.config]",
            "actor_rollout_ref.hybrid_engine=False",
            "rollout.nnodes=1",
            "rollout.n_gpus_per_node=1",
            "algorithm.rollout_correction.bypass_mode=False",
            "algorithm.adv_estimator=rloo",
            "+algorithm.kl_mode=future",
            "+algorithm.token_weight=lambda_grpo",
        ),
    )
    assert "adv_estimator=rloo with kl_mode=future, beta=0.05" in run.log
    assert_weighed(assert_trained_with_the_term(run))


@pytest.mark.thorough
def test_fully_async_with_drpo_and_an_adaptive_beta_in_its_checkpoints(train):
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
            "+algorithm.token_weight=lambda_grpo",
            "actor_rollout_ref.actor.policy_loss.loss_mode=drpo",
        ),
    )
    # it never validates its configuration: this is said on the way to Ray
    said = run.log.index("adv_estimator=frpo, beta=0.05 (algorithm.kl_ctrl.kl_coef)")
    assert said < run.log.index("ray init kwargs")
    steps = assert_trained_with_the_term(run)
    # far below the target: −20 % of 8 × 5 responses in 1000, every step
    expected = [0.05 * (1 - 0.2 * 40 / 1000) ** n for n in range(4)]
    assert [step["frpo/beta"] for step in steps] == pytest.approx(expected[:3], rel=1e-9)
    assert_weighed(steps)
    assert_anchored(steps)
    assert_subtracted_by_the_workers(steps)
    folder = run.directory / "checkpoints"
    last = int((folder / "latest_checkpointed_iteration.txt").read_text())
    assert json.loads((folder / f"global_step_{last}" / "frpo_verl.json").read_text())["beta"] in [
        pytest.approx(beta, rel=1e-12) for beta in expected
    ]
