"""Asks verl before the start-up what it would say after it."""

import functools

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, changed, composed

from frpo_verl.preflight import examination, rehearsal

pytestmark = pytest.mark.usefixtures("verls_defaults_are_there")

BY_ROWS = (
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
)
VERLS = "hydra.searchpath=[pkg://verl.trainer.config]"
APART = (
    "trainer.v1.trainer_mode=separate_async",
    "actor_rollout_ref.rollout.nnodes=1",
    "actor_rollout_ref.rollout.n_gpus_per_node=2",
    "actor_rollout_ref.rollout.checkpoint_engine.backend=nixl",
    "data.train_batch_size=512",
    "actor_rollout_ref.actor.ppo_mini_batch_size=128",
)


@functools.cache
def command_line(*words):
    return composed([*words, *FRPO, *BY_ROWS])


def said(*overrides, main=()):
    return list(rehearsal.problems(changed(command_line(*main), *overrides)))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("algorithm.adv_estimator=gae", "critic.ppo_micro_batch_size_per_gpu=4"),
        ("actor_rollout_ref.actor.use_dynamic_bsz=True",),
        APART,
        ("trainer.v1.trainer_mode=colocate_async",),
        ("trainer.use_v1=False",),
        ("trainer.logger=console",),
        ("trainer.logger=[console,file]",),
        ("reward.reward_manager.name=dapo",),
        ("actor_rollout_ref.rollout.multi_turn.enable=True",),
        ("actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.ref.model.path=/teacher"),
        ("algorithm.kl_ctrl.kl_coef=0", "actor_rollout_ref.ref.model.path=/teacher"),
        ("algorithm.adv_estimator=mine", "actor_rollout_ref.model.external_lib=my_estimators"),
        ("reward.reward_manager.name=mine", "reward.custom_reward_function.path=/mine.py"),
        ("algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=acc"),
    ],
    ids=" ".join,
)
def test_what_runs_is_not_refused(overrides):
    assert said(*overrides) == []


@pytest.mark.parametrize(
    "main",
    [
        ("--config-name", "ppo_megatron_trainer"),
        ("python", "-m", "verl.experimental.one_step_off_policy.main_ppo", VERLS),
        ("python", "-m", "verl.experimental.fully_async_policy.fully_async_main", VERLS),
    ],
    ids=["megatron", "one-step-off", "fully-async"],
)
def test_the_defaults_of_other_mains_are_not_refused(main):
    assert said(main=main) == []


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        (("actor_rollout_ref.ref.model.path=/teacher",), "actor_rollout_ref.ref: ", "keyword argument 'model'"),
        (("actor_rollout_ref.rollout.temprature=1",), "actor_rollout_ref.rollout: ", "keyword argument 'temprature'"),
        (("actor_rollout_ref.model.lora_rnak=8",), "actor_rollout_ref.model: ", "keyword argument 'lora_rnak'"),
        (("actor_rollout_ref.rollout.mode=sync",), "actor_rollout_ref.rollout: ", "Rollout mode 'sync' has been"),
        (("actor_rollout_ref.rollout.name=vlm",), "actor_rollout_ref.rollout.name=vlm: ", "only sglang, trtllm, vllm"),
        (("trainer.logger=[console,wandbb]",), "trainer.logger=wandbb: ", "there is none of that name, only "),
        (("algorithm.adv_estimator=rlooo",), "algorithm.adv_estimator=rlooo: ", "rlooo"),
        (("reward.reward_manager.name=naiv",), "reward.reward_manager.name=naiv: ", "Unknown reward manager: naiv"),
        (
            ("actor_rollout_ref.rollout.multi_turn.enable=True", "actor_rollout_ref.rollout.multi_turn.format=herms"),
            "actor_rollout_ref.rollout.multi_turn.format=herms: ",
            "none of that name, only ",
        ),
        (("trainer.v1.trainer_mode=snyc",), "trainer.v1.trainer_mode=snyc: ", "Unknown trainer 'snyc'"),
        (
            (*APART, "trainer.v1.separate_async.parameter_sync_step=3"),
            "trainer.v1.trainer_mode=separate_async: ",
            "train_batch_size must equal parameter_sync_step * ppo_mini_batch_size",
        ),
        (
            (*APART, "actor_rollout_ref.rollout.checkpoint_engine.backend=naive"),
            "trainer.v1.trainer_mode=separate_async: ",
            "please use nccl/nixl",
        ),
        (
            ("algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=null"),
            "trainer.v1.trainer_mode=sync: ",
            "algorithm.filter_groups.metric must be set",
        ),
        (
            ("actor_rollout_ref.rollout.agent.agent_loop_config_path=nowhere.yaml",),
            "actor_rollout_ref.rollout.agent.agent_loop_config_path=nowhere.yaml: ",
            "not found",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_verl_would_refuse_later_is_one_sentence(overrides, key, says):
    (problem,) = said(*overrides)
    assert problem.startswith(f"{key}verl refuses it after the start-up (") and says in problem
    assert problem.endswith("); correct what it names") and "\n" not in problem


# A mini-batch of 4 prompts and 5 responses each: 20 on one GPU, 10 on each of two.
@pytest.mark.parametrize(
    ("gpus", "size", "runs"),
    [(1, 20, True), (1, 10, True), (1, 32, False), (1, 8, False), (2, 10, True), (2, 20, False), (8, 1, False)],
)
def test_a_mini_batch_is_cut_evenly(gpus, size, runs):
    batches = "data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=4"
    found = said(
        *batches, f"trainer.n_gpus_per_node={gpus}", f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={size}"
    )
    named = "actor_rollout_ref.actor.ppo_mini_batch_size=4, "
    assert sum(problem.startswith(named) for problem in found) == (not runs)


# A batch of 8 prompts and 5 responses each: 40 on one GPU, 20 on each of two.
@pytest.mark.parametrize(("gpus", "size", "runs"), [(1, 40, True), (1, 16, False), (2, 20, True), (2, 40, False)])
@pytest.mark.parametrize("role", ["rollout", "ref"])
def test_a_pass_for_log_probs_is_cut_evenly(gpus, size, runs, role):
    key = f"actor_rollout_ref.{role}.log_prob_micro_batch_size_per_gpu"
    batches = "data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=8"
    found = said(*batches, f"trainer.n_gpus_per_node={gpus}", f"{key}={size}")
    assert [problem.startswith(f"{key}={size}, data.train_batch_size=8, ") for problem in found] == [True] * (not runs)


@pytest.mark.parametrize(
    ("role", "overrides"),
    [
        ("rollout", ["algorithm.rollout_correction.bypass_mode=True"]),
        ("rollout", ["algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=acc"]),
        ("rollout", ["actor_rollout_ref.rollout.agent.agent_loop_config_path=/dev/null"]),
        ("rollout", APART),
        ("ref", ["algorithm.kl_ctrl.kl_coef=0"]),
        ("ref", ["actor_rollout_ref.model.lora_rank=8"]),
        ("ref", ["actor_rollout_ref.ref.log_prob_use_dynamic_bsz=True"]),
    ],
)
def test_a_pass_that_does_not_run_or_has_a_size_of_its_own_is_left_alone(role, overrides):
    key = f"actor_rollout_ref.{role}.log_prob_micro_batch_size_per_gpu"
    assert len(said(f"{key}=7")) == 1
    assert said(f"{key}=7", *overrides) == []


def test_split_sequences_leave_fewer_ranks_for_a_mini_batch():
    # 20 responses: not for 8 ranks, but for 8 GPUs in 4 ranks of two.
    batches = "data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=4"
    dynamic = "actor_rollout_ref.actor.use_dynamic_bsz=True"
    (problem,) = said(*batches, dynamic)
    assert "8 ranks cannot share a mini-batch of 20 responses" in problem
    assert said(*batches, dynamic, "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2") == []


def test_a_critic_is_asked_where_there_is_one():
    batches = "critic.ppo_mini_batch_size=256", "critic.ppo_micro_batch_size_per_gpu=7"
    assert said(*batches) == []
    (problem,) = said(*batches, "algorithm.adv_estimator=gae")
    assert problem.startswith("critic.ppo_mini_batch_size=256, ppo_micro_batch_size_per_gpu=7, ")


def test_it_is_part_of_every_examination_and_keeps_the_configuration():
    config = changed(command_line(), "actor_rollout_ref.ref.model.path=/teacher")
    before = config.copy()
    for starting in (True, False):
        (problem,) = examination.examine(config, look_at_machine=False, starting=starting).problems
        assert problem.startswith("actor_rollout_ref.ref: ")
    assert config == before
