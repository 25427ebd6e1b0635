"""Checks that Megatron's ranks, packages and model fit together."""

import importlib.util
from collections.abc import Iterator
from typing import Any

from frpo_verl.preflight import layout, model_folder, verls_own
from frpo_verl.preflight.ray_names import is_local

SECTION = "actor_rollout_ref.actor.megatron"


def without_section(config: Any) -> Iterator[str]:
    """Yields the first role of a run whose strategy is Megatron's and whose section is not."""
    section, needed = config.actor_rollout_ref, verls_own.loaded(config)
    roles = {"actor_rollout_ref.actor": section.actor}
    if needed.reference:
        roles["actor_rollout_ref.ref"] = section.ref
    if needed.critic:
        roles["critic"] = config.critic
    for key, role in roles.items():
        # A section that overrides alone have made is not verl's.
        if role.get("strategy") == "megatron" and "_target_" not in (role.get("megatron") or {}):
            yield (
                f"{key}.strategy=megatron: the configuration has no section {key}.megatron of verl's; set "
                "model_engine=megatron, which brings it for every role"
            )
            return


def problems(config: Any) -> Iterator[str]:
    """Yields what keeps Megatron workers from starting, where every role has its section."""
    if config.actor_rollout_ref.actor.strategy != "megatron":
        return
    megatron = config.actor_rollout_ref.actor.megatron
    # On a cluster the nodes need them, and the driver may live without.
    if is_local(config):
        yield from _packages(megatron)
    yield from _world(config, megatron)
    yield from _model(config, megatron)


def _packages(megatron: Any) -> Iterator[str]:
    if not _is_there("megatron.core"):
        yield (
            "actor_rollout_ref.actor.strategy=megatron: megatron-core is not installed; pip install "
            "'frpo-verl[megatron]', or set actor_rollout_ref.actor.strategy=fsdp2"
        )
        return
    vanilla = megatron.vanilla_mbridge
    package = "mbridge" if vanilla else "megatron-bridge"
    if not _is_there(package.replace("-", ".")):
        yield (
            f"{SECTION}.vanilla_mbridge={vanilla}: {package}, which carries the weights from Hugging "
            f"Face's names to Megatron's, is not installed; pip install {package}, or set {SECTION}.vanilla_mbridge="
            f"{not vanilla}"
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _world(config: Any, megatron: Any) -> Iterator[str]:
    ranks = layout.trainer_gpus(config)
    tensor, pipeline = megatron.tensor_model_parallel_size, megatron.pipeline_model_parallel_size
    context, expert = megatron.context_parallel_size, megatron.expert_model_parallel_size
    if ranks % (tensor * pipeline * context):
        yield (
            f"{SECTION}: tensor × pipeline × context parallel is {tensor} × {pipeline} × {context} = "
            f"{tensor * pipeline * context}, and the {ranks} ranks of trainer.nnodes × n_gpus_per_node are not "
            "divisible by that; change one of them"
        )
        return
    # Where it is not set, Megatron splits experts as it splits all else.
    of_experts = megatron.expert_tensor_parallel_size or tensor
    if ranks // pipeline % (expert * of_experts):
        yield (
            f"{SECTION}.expert_model_parallel_size={expert}: with expert_tensor_parallel_size={of_experts} it does not "
            f"divide the {ranks // pipeline} ranks of a pipeline stage; change one of them, or trainer.n_gpus_per_node"
        )


def _model(config: Any, megatron: Any) -> Iterator[str]:
    path = config.actor_rollout_ref.model.path
    # Megatron-Bridge can pad the vocabulary.
    parts_of_vocabulary = megatron.tensor_model_parallel_size if megatron.vanilla_mbridge else 1
    for key, parts, what in (
        ("vocab_size", parts_of_vocabulary, "tensor_model_parallel_size"),
        ("num_attention_heads", megatron.tensor_model_parallel_size, "tensor_model_parallel_size"),
        ("num_experts", megatron.expert_model_parallel_size, "expert_model_parallel_size"),
    ):
        value = model_folder.size(path, key)
        if value is not None and value % parts:
            yield f"{SECTION}.{what}={parts}: the model's {key} of {value} is not divisible by it; choose a divisor"
