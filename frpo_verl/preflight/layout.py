"""Checks that sizes are positive integers and that rollout servers and split sequences fit the trainer's GPUs."""

import math
from collections.abc import Iterator
from typing import Any

from frpo_verl.preflight import model_folder

LEAST = {
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 1,
    # 0 in verl's fully-async trainer.
    "data.train_batch_size": 0,
    "data.max_prompt_length": 1,
    "data.max_response_length": 1,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 1,
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 1,
    "actor_rollout_ref.actor.ulysses_sequence_parallel_size": 1,
    "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 1,
    "actor_rollout_ref.actor.megatron.tensor_model_parallel_size": 1,
    "actor_rollout_ref.actor.megatron.pipeline_model_parallel_size": 1,
    "actor_rollout_ref.actor.megatron.context_parallel_size": 1,
    "actor_rollout_ref.actor.megatron.expert_model_parallel_size": 1,
    "actor_rollout_ref.rollout.n": 1,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.data_parallel_size": 1,
    "actor_rollout_ref.rollout.pipeline_model_parallel_size": 1,
    "actor_rollout_ref.rollout.nnodes": 0,
    "rollout.nnodes": 0,
    "rollout.n_gpus_per_node": 0,
}
"""verl's keys whose values are counted with, and the least that each can be."""


def not_counts(config: Any) -> list[str]:
    """Returns a sentence for each size that is not an integer or too small; no other size can be computed before."""
    from omegaconf import OmegaConf

    found = []
    for key, least in LEAST.items():
        value = OmegaConf.select(config, key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            found.append(f"{key}={value}: set it to a whole number of {least} or more")
    return found


def trainer_gpus(config: Any) -> int:
    """Returns the number of GPUs of the trainer's workers on all nodes."""
    return config.trainer.nnodes * config.trainer.n_gpus_per_node


def pool_gpus(config: Any) -> int:
    """Returns the number of GPUs of servers that verl's asynchronous trainers start apart from the trainer's own."""
    pool = _pool(config)
    return 0 if pool is None else (pool.get("nnodes") or 0) * (pool.get("n_gpus_per_node") or 0)


def problems(config: Any) -> Iterator[str]:
    """Yields what does not fit the trainer's GPUs; verl notices after it has loaded the model, or never."""
    yield from _servers(config)
    yield from _split_sequences(config)


def warnings(config: Any) -> Iterator[str]:
    """Yields what ends a run late, or never."""
    actor, data = config.actor_rollout_ref.actor, config.data
    if not_counts(config) or not actor.use_dynamic_bsz:
        return
    tokens = actor.ppo_max_token_len_per_gpu
    longest, room = data.max_prompt_length + data.max_response_length, tokens * sequence_parallel(actor)[1]
    if longest > room:
        yield (
            f"actor_rollout_ref.actor.ppo_max_token_len_per_gpu={tokens}: a micro-batch has room for {room} tokens, "
            "and verl ends the run at the first longer sequence; data.max_prompt_length and data.max_response_length "
            f"allow {longest}"
        )


def sequence_parallel(section: Any) -> tuple[str, int]:
    """Returns into how many parts FSDP's workers of a role split a sequence, after the key that says so.

    The section is verl's of an actor, a reference or a critic. Under Megatron it is 1.
    """
    from omegaconf import OmegaConf

    # The actor's and the reference's, the critic's, and where verl 0.8 had it, whose default is 1.
    keys = [f"{place}ulysses_sequence_parallel_size" for place in ("fsdp_config.", "fsdp.", "")]
    if not str(section.get("strategy")).startswith("fsdp"):
        return keys[0], 1
    return max(((key, OmegaConf.select(section, key) or 1) for key in keys), key=lambda item: item[1])


def data_parallel(config: Any, section: Any) -> int:
    """Returns over how many parts a role's batch is spread; 1 at least, whatever does not fit."""
    if section.get("strategy") != "megatron":
        return max(trainer_gpus(config) // sequence_parallel(section)[1], 1)
    sizes = (section.megatron.get(f"{name}_parallel_size", 1) for name in ("tensor_model", "pipeline_model", "context"))
    return max(trainer_gpus(config) // math.prod(sizes), 1)


def _pool(config: Any) -> Any:
    """Returns the section of servers that have GPUs of their own, or None."""
    from omegaconf import OmegaConf

    apart = OmegaConf.select(config, "trainer.v1.trainer_mode") == "separate_async"
    return config.get("rollout") or (config.actor_rollout_ref.rollout if apart else None)


def _servers(config: Any) -> Iterator[str]:
    rollout = config.actor_rollout_ref.rollout
    if _pool(config) is not None:
        return
    sizes = {name: rollout.get(f"{name}_parallel_size", 1) for name in ("tensor_model", "data", "pipeline_model")}
    server, gpus = math.prod(sizes.values()), trainer_gpus(config)
    if gpus % server:
        given = ", ".join(f"{name}_parallel_size={size}" for name, size in sizes.items() if size != 1)
        yield (
            f"actor_rollout_ref.rollout.{given}: a server takes {server} GPUs, and the trainer's {gpus} "
            f"(trainer.nnodes × trainer.n_gpus_per_node) are not divisible by {server}; set it to a divisor of {gpus}"
        )


def _split_sequences(config: Any) -> Iterator[str]:
    key, parts = sequence_parallel(config.actor_rollout_ref.actor)
    key, gpus = f"actor_rollout_ref.actor.{key}", trainer_gpus(config)
    if gpus % parts:
        yield (
            f"{key}={parts}: the trainer's {gpus} GPUs (trainer.nnodes × trainer.n_gpus_per_node) are not divisible "
            f"by it; set it to a divisor of {gpus}"
        )
    heads = model_folder.size(config.actor_rollout_ref.model.path, "num_attention_heads")
    if heads is not None and heads % parts:
        yield f"{key}={parts}: the model's num_attention_heads of {heads} is not divisible by it; choose a divisor"
