"""Phases of a run, on verl's own composed configuration."""

import copy
import functools

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, composed
from plan.published import qwen3

from frpo_verl.plan import memory, report
from frpo_verl.plan.memory import GIB, Roles
from frpo_verl.plan.model import count

RUN = (
    *FRPO,
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.actor.use_dynamic_bsz=True",
    "data.train_batch_size=256",
    "data.max_prompt_length=2048",
    "data.max_response_length=8192",
)
SMALL = count(qwen3("1.7B"))


@functools.cache
def of_engine(*engine):
    return composed([*RUN, *engine])


def compose(*overrides):
    engine = [override for override in overrides if override.startswith("model_engine=")]
    config = copy.deepcopy(of_engine(*engine))
    config.merge_with_dotlist([override for override in overrides if override not in engine])
    return config


def phases(*overrides, gpu=80 * GIB, critic=None, model=SMALL):
    found = memory.estimate(compose(*overrides), Roles(model, critic, True), gpu)
    return {phase.name: phase.parts for phase in found}


def test_the_shape_of_an_fsdp_run():
    found = phases()
    assert list(found) == ["rollout", "log-probs", "update"]
    of_rank = SMALL.parameters * 4 / 8
    assert found["update"]["actor weights"] == found["update"]["actor gradients"] == of_rank
    assert found["rollout"]["actor weights"] == of_rank
    # vLLM has its half of the GPU, and gives it back for training.
    assert found["rollout"]["vLLM weights"] + found["rollout"]["vLLM cache and buffers"] == 0.5 * 80 * GIB
    assert "vLLM weights" not in found["update"]
    # 16384 tokens, the vocabulary, bfloat16: logits, softmax, product.
    assert found["log-probs"]["logits"] == 16384 * 151936 * 2 * 3


def test_offload_leaves_the_gpu_to_the_rollout():
    offload = [f"actor_rollout_ref.actor.fsdp_config.{what}=True" for what in ("param_offload", "optimizer_offload")]
    found = phases(*offload)
    assert found["rollout"]["actor weights"] == found["rollout"]["actor optimizer"] == 0
    assert found["update"] == phases()["update"]


def test_a_cache_that_is_not_freed_stays_through_the_update():
    found = phases("actor_rollout_ref.rollout.free_cache_engine=False")
    assert found["update"]["vLLM weights"] + found["update"]["vLLM cache and buffers"] == 0.5 * 80 * GIB


def test_a_rollout_of_its_own_has_its_gpus_to_itself():
    found = phases("actor_rollout_ref.hybrid_engine=False", "actor_rollout_ref.rollout.free_cache_engine=False")
    assert not [name for name in found["rollout"] if name.startswith("actor")]
    assert not [name for name in found["update"] if name.startswith("vLLM")]


def test_a_critic_is_a_second_model_with_a_phase():
    found = phases(critic=SMALL)
    of_rank = SMALL.parameters * 4 / 8
    assert found["critic"]["critic gradients"] == of_rank
    assert found["update"]["critic weights"] == found["critic"]["actor weights"] == of_rank
    assert found["update"]["critic optimizer"] == 2 * of_rank
    # FSDP's are freed after each update.
    assert not found["update"]["critic gradients"]
    assert not found["critic"]["logits"]


@pytest.mark.parametrize(("offloaded", "stays"), [("True", False), ("False", True)])
def test_megatrons_reference_stays_unless_it_is_offloaded(offloaded, stays):
    found = phases("model_engine=megatron", f"actor_rollout_ref.ref.megatron.param_offload={offloaded}")
    assert ("reference weights" in found["update"]) is stays
    assert found["log-probs"]["reference weights"] == SMALL.parameters * 2


def test_micro_batches_by_rows_and_by_tokens():
    by_rows = [
        "actor_rollout_ref.actor.use_dynamic_bsz=False",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
    ]
    shared = ["actor_rollout_ref.actor.ulysses_sequence_parallel_size=4"]
    tokens = 151936 * 2 * 2
    assert phases(*by_rows)["update"]["logits"] == 2 * 10240 * tokens
    assert phases(*by_rows, *shared)["update"]["logits"] == 2 * 10240 / 4 * tokens
    assert phases()["update"]["logits"] == 16384 * tokens
    # A budget of tokens that no batch fills.
    few = ["data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=8"]
    budget = "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=1000000"
    assert phases(*few, budget)["update"]["logits"] == 5 * 10240 * tokens


def test_fused_kernels_keep_no_logits():
    assert phases("actor_rollout_ref.model.use_fused_kernels=True")["log-probs"]["logits"] == 0


def test_other_engines_are_named():
    with pytest.raises(memory.Unsupported) as error:
        phases("actor_rollout_ref.actor.strategy=veomni")
    assert (
        str(error.value) == "actor_rollout_ref.actor.strategy=veomni: memory is estimated for fsdp, fsdp2 and megatron"
    )


def doubts(gpu, *overrides):
    config = compose(*overrides)
    return memory.doubts(config, memory.estimate(config, Roles(SMALL, None, True), gpu), gpu)


def test_a_plan_that_does_not_fit_is_said():
    assert doubts(80 * GIB) == doubts(None) == []
    (doubt,) = doubts(40 * GIB, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=65536")
    logits = 65536 * 151936 * 2 * 3 / GIB
    assert doubt.startswith("the log-probs phase is expected to take ")
    assert doubt.endswith(
        "of a GPU's 40.0 GiB, of which about 10% goes to CUDA, NCCL and fragmentation; lower its largest part, logits "
        f"({logits:.1f} GiB)"
    )
    (doubt,) = doubts(80 * GIB, "actor_rollout_ref.rollout.gpu_memory_utilization=0.02")
    assert doubt == (
        "actor_rollout_ref.rollout.gpu_memory_utilization=0.02: vLLM gets 1.6 GiB and its weights take 3.2 GiB of it; "
        "raise it, or rollout.tensor_model_parallel_size"
    )


def test_the_table_adds_up():
    found = [
        memory.Phase("rollout", {"vLLM weights": 3 * GIB, "nothing": 0.0}),
        memory.Phase("update", {"actor weights": 1.5 * GIB, "logits": 2.5 * GIB}),
    ]
    assert report.table(found, 8 * GIB, apart=True).splitlines() == [
        "Memory per GPU in GiB, estimated; without CUDA's contexts, NCCL's buffers and fragmentation",
        "                   rollout*      update",
        "  vLLM weights         3.00           -",
        "  actor weights           -        1.50",
        "  logits                  -        2.50",
        "  together             3.00        4.00",
        "  peak: 4.0 GiB in the update phase, of 8.0 GiB",
        "  * on GPUs of its own",
    ]
    assert "--gpu-memory GIB" in report.table(found, None, apart=False)
