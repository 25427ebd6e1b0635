"""Lower bounds of memory by phase, derived by hand on verl's own composed configuration."""

import functools

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, changed, composed

from frpo_verl.plan import memory
from frpo_verl.plan.memory import GIB, MIB
from frpo_verl.plan.model import Model

RUN = (
    *FRPO,
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.gpu_memory_utilization=0.5",
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=2048",
    "actor_rollout_ref.actor.use_dynamic_bsz=True",
    "actor_rollout_ref.model.use_fused_kernels=True",
    "data.train_batch_size=256",
    "data.max_prompt_length=2048",
    "data.max_response_length=8192",
)
P = 8 * 10**9
MODEL = Model(parameters=P, experts=0, trained=P, vocabulary=100_000)
GPU = 80 * GIB
BUCKET = 2048 * MIB
ACTOR, MEGATRON = "actor_rollout_ref.actor.fsdp_config.", "actor_rollout_ref.actor.megatron."


@functools.cache
def of_engine(*engine):
    return composed([*RUN, *engine])


def phases(*overrides, gpu=GPU, critic=None, reference=False, model=MODEL, engine=()):
    return memory.estimate(changed(of_engine(*engine), *overrides), model, critic, reference, gpu)


def test_fsdp_spreads_float32_weights_gradients_and_two_moments_over_the_ranks():
    # 8 GPUs: 4·P/8 of each.
    of_each = 4 * P / 8
    assert phases() == {
        "rollout": GPU / 2 + BUCKET + 3 * of_each,
        "log-probs": 3 * of_each,
        "update": 4 * of_each,
    }
    assert phases(f"{ACTOR}model_dtype=bf16")["update"] == 4 * 2 * P / 8
    assert phases(f"{ACTOR}fsdp_size=2")["update"] == 4 * 4 * P / 2
    assert phases(f"{ACTOR}offload_policy=True")["update"] == 0


def test_what_is_offloaded_is_there_only_at_its_turn():
    of_each = 4 * P / 8
    found = phases(f"{ACTOR}param_offload=True", f"{ACTOR}optimizer_offload=True")
    assert found == {"rollout": GPU / 2 + BUCKET, "log-probs": of_each, "update": 4 * of_each}


def test_a_cache_that_is_not_freed_stays_through_the_update():
    found = phases("actor_rollout_ref.rollout.free_cache_engine=False")
    assert found["update"] == GPU / 2 + 4 * 4 * P / 8


def test_a_rollout_of_its_own_has_its_gpus_to_itself():
    apart = ("actor_rollout_ref.hybrid_engine=False", "actor_rollout_ref.rollout.free_cache_engine=False")
    found = phases(*apart)
    assert (found["rollout"], found["update"]) == (GPU / 2 + BUCKET, 4 * 4 * P / 8)
    assert memory.table(changed(of_engine(), *apart), found, GPU).endswith("rollout has GPUs of its own")


def test_without_a_gpu_vllms_weights_are_counted_in_bfloat16():
    assert phases(gpu=None)["rollout"] == 2 * P + BUCKET + 3 * 4 * P / 8
    split = "actor_rollout_ref.rollout.tensor_model_parallel_size=4"
    assert phases(split, gpu=None)["rollout"] == 2 * P / 4 + BUCKET + 3 * 4 * P / 8


def test_a_critic_stays_while_the_actor_is_trained():
    critic = Model(P // 2, 0, P // 2, 100_000)
    # Weights, gradients and moments of the actor; weights and moments of the critic.
    assert phases(critic=critic)["update"] == (4 * 4 * P + 3 * 4 * P // 2) / 8
    # A larger one has its own turn: all of its own, and what the actor keeps.
    critic = Model(2 * P, 0, 2 * P, 100_000)
    assert phases(critic=critic)["update"] == (4 * 4 * 2 * P + 3 * 4 * P) / 8


def test_with_lora_only_weights_are_counted():
    assert phases(model=MODEL._replace(trained=0), reference=True)["update"] == 4 * P / 8


@pytest.mark.parametrize(("offloaded", "stays"), [("True", 0), ("False", 1)])
def test_megatrons_reference_stays_unless_it_is_offloaded(offloaded, stays):
    offload = f"actor_rollout_ref.ref.megatron.param_offload={offloaded}"
    found, alone = (phases(offload, reference=there, engine=("model_engine=megatron",)) for there in (True, False))
    assert found["update"] - alone["update"] == stays * 2 * P
    assert found["rollout"] - alone["rollout"] == stays * 2 * P


def test_megatron_splits_the_model_and_spreads_the_optimizer_over_all_ranks():
    split = [f"{MEGATRON}{name}_model_parallel_size=2" for name in ("tensor", "pipeline")]
    of_rank = P / 4
    # 2 bytes of weight, 4 of gradient; of the optimizer 12 bytes over 8 ranks.
    assert phases(*split, engine=("model_engine=megatron",))["update"] == (2 + 4) * of_rank + 12 * P / 8
    whole = f"{MEGATRON}use_distributed_optimizer=False"
    assert phases(*split, whole, engine=("model_engine=megatron",))["update"] == (2 + 4 + 12) * of_rank
    half = "actor_rollout_ref.actor.optim.override_optimizer_config"
    settings = [f"{half}.optimizer_cpu_offload=True", f"{half}.optimizer_offload_fraction=0.5"]
    assert phases(*split, *settings, engine=("model_engine=megatron",))["update"] == 6 * of_rank + 6 * P / 8


def test_experts_are_split_by_ranks_of_their_own():
    model = MODEL._replace(experts=P // 2)
    split = [f"{MEGATRON}expert_model_parallel_size=4", f"{MEGATRON}tensor_model_parallel_size=2"]
    found = phases(*split, f"{MEGATRON}expert_tensor_parallel_size=1", model=model, engine=("model_engine=megatron",))
    assert found["update"] == 6 * (P / 2 / 2 + P / 2 / 4) + 12 * P / 8


def logits(*overrides, engine=()) -> tuple[float, float]:
    """Computes what the logits add to log-probs and update, in elements of the vocabulary and half precision."""
    found = phases("actor_rollout_ref.model.use_fused_kernels=False", *overrides, engine=engine)
    fused = phases(*overrides, engine=engine)
    return tuple((found[phase] - fused[phase]) / 100_000 / 2 for phase in ("log-probs", "update"))


def test_logits_are_counted_once_for_log_probs_and_with_their_gradient_in_an_update():
    by_rows = [
        "actor_rollout_ref.actor.use_dynamic_bsz=False",
        "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=False",
    ]
    of_actor = "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2"
    of_rollout = "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=3"
    assert logits(*by_rows, of_actor, of_rollout) == (3 * 10240, 2 * 2 * 10240)
    shared = f"{ACTOR}ulysses_sequence_parallel_size=4"
    assert logits(*by_rows, of_actor, of_rollout, shared) == (3 * 10240 / 4, 2 * 2 * 10240 / 4)


def test_a_budget_of_tokens_is_counted_as_far_as_a_batch_fills_it():
    budget = "actor_rollout_ref.actor.ppo_max_token_len_per_gpu={}".format
    assert logits(budget(16384))[1] == 2 * 16384
    # 8 prompts, 5 responses, 10240 tokens, 8 GPUs.
    few = ["data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=8"]
    assert logits(*few, budget(1_000_000))[1] == 2 * 5 * 10240
    split = [f"{MEGATRON}tensor_model_parallel_size=4"]
    assert logits(budget(16384), *split, engine=("model_engine=megatron",))[1] == 2 * 16384 / 4


def test_other_engines_are_named():
    with pytest.raises(ValueError, match="strategy=veomni: memory is estimated for fsdp, fsdp2 and megatron"):
        phases("actor_rollout_ref.actor.strategy=veomni")


def doubts(gpu, *overrides):
    config = changed(of_engine(), *overrides)
    return memory.doubts(config, memory.estimate(config, MODEL, None, False, gpu), MODEL, gpu)


def test_a_plan_that_cannot_fit_is_said():
    assert doubts(80 * GIB) == doubts(None) == []
    (doubt,) = doubts(80 * GIB, "actor_rollout_ref.rollout.gpu_memory_utilization=0.1")
    assert doubt == (
        "actor_rollout_ref.rollout.gpu_memory_utilization=0.1: vLLM gets 8.0 GiB and its weights take 14.9 GiB of it; "
        "raise it, or rollout.tensor_model_parallel_size"
    )
    assert doubts(14 * GIB)[1].startswith("the update phase takes 14.9 GiB or more of a GPU's 14.0 GiB; use more GPU")


def test_the_table_has_one_figure_for_each_phase():
    found = {"rollout": 43.5 * GIB, "log-probs": 1.25 * GIB, "update": 4.0 * GIB}
    assert memory.table(of_engine(), found, 80 * GIB).splitlines() == [
        memory.TITLE,
        "  rollout      43.50 GiB of 80.0 GiB",
        "  log-probs     1.25 GiB of 80.0 GiB",
        "  update        4.00 GiB of 80.0 GiB",
    ]
    assert "rough lower bound" in memory.TITLE
    assert "--gpu-memory GIB" in memory.table(of_engine(), found, None)


def test_the_run_that_was_measured_on_a_gpu():
    """One H200 of 139.8 GiB, a model of 0.3 M parameters: nvidia-smi showed 43.85 GiB in the rollout."""
    tiny = Model(300_000, 0, 300_000, 96)
    found = phases("actor_rollout_ref.rollout.gpu_memory_utilization=0.3", gpu=139.8 * GIB, model=tiny, reference=True)
    assert found["rollout"] / GIB == pytest.approx(43.85, rel=0.01)
