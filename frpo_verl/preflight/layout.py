"""Whether what a run counts are counts, and whether servers and split sequences fit on the trainer's GPUs."""

import math
from collections.abc import Iterator
from typing import Any

from frpo_verl.preflight import model_folder
from frpo_verl.preflight.errors import SettingsError

LEAST = {
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 1,
    # verl's fully-async has none.
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
"""verl's keys that are counted with, and the least that they can be."""


def no_counts(config: Any) -> list[SettingsError]:
    """Values that are no whole numbers, or too small: nothing that counts GPUs or rows can be asked before they are.

    Args:
        config: verl's whole configuration.

    Returns:
        One sentence each: what, the value, the fix.
    """
    from omegaconf import OmegaConf

    found = []
    for key, least in LEAST.items():
        value = OmegaConf.select(config, key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            found.append(SettingsError(f"{key}={value}: set it to a whole number of {least} or more"))
    return found


def trainer_gpus(config: Any) -> int:
    """The GPUs of the trainer's workers.

    Args:
        config: verl's whole configuration, whose counts are counts.

    Returns:
        How many, over all nodes.
    """
    return config.trainer.nnodes * config.trainer.n_gpus_per_node


def pool_gpus(config: Any) -> int:
    """The GPUs of servers that verl's asynchronous trainers start beside the trainer's own.

    Args:
        config: verl's whole configuration, whose counts are counts.

    Returns:
        How many, over all nodes; 0 where there is no such pool.
    """
    pool = _pool(config)
    return 0 if pool is None else (pool.get("nnodes") or 0) * (pool.get("n_gpus_per_node") or 0)


def problems(config: Any) -> Iterator[SettingsError]:
    """What does not fit on the trainer's GPUs; verl looks after it has loaded the model, or never.

    Args:
        config: verl's whole configuration, whose counts are counts.

    Yields:
        One sentence each: what, the value, the fix.
    """
    yield from _servers(config)
    yield from _split_sequences(config)


def warnings(config: Any) -> Iterator[str]:
    """What ends a run late, or never.

    Args:
        config: verl's whole configuration.

    Yields:
        One sentence each.
    """
    actor, data = config.actor_rollout_ref.actor, config.data
    if no_counts(config) or not actor.use_dynamic_bsz:
        return
    tokens = actor.ppo_max_token_len_per_gpu
    longest, room = data.max_prompt_length + data.max_response_length, tokens * sequence_parallel(actor)[1]
    if longest > room:
        yield (
            f"actor_rollout_ref.actor.ppo_max_token_len_per_gpu={tokens}: a micro-batch has room for {room} tokens, "
            "and verl ends the run at the first sequence that is longer; data.max_prompt_length and "
            f"data.max_response_length allow {longest}"
        )


def _pool(config: Any) -> Any:
    """The section of servers that have GPUs of their own, or None."""
    from omegaconf import OmegaConf

    apart = OmegaConf.select(config, "trainer.v1.trainer_mode") == "separate_async"
    return config.get("rollout") or (config.actor_rollout_ref.rollout if apart else None)


def _servers(config: Any) -> Iterator[SettingsError]:
    rollout = config.actor_rollout_ref.rollout
    if _pool(config) is not None:
        return
    sizes = {name: rollout.get(f"{name}_parallel_size", 1) for name in ("tensor_model", "data", "pipeline_model")}
    server, gpus = math.prod(sizes.values()), trainer_gpus(config)
    if gpus % server:
        given = ", ".join(f"{name}_parallel_size={size}" for name, size in sizes.items() if size != 1)
        yield SettingsError(
            f"actor_rollout_ref.rollout.{given}: a server takes {server} GPUs, and the trainer's {gpus} "
            "(trainer.nnodes × trainer.n_gpus_per_node) are no multiple of that; set it to a divisor of them"
        )


def _split_sequences(config: Any) -> Iterator[SettingsError]:
    key, parts = sequence_parallel(config.actor_rollout_ref.actor)
    key, gpus = f"actor_rollout_ref.actor.{key}", trainer_gpus(config)
    if gpus % parts:
        yield SettingsError(
            f"{key}={parts}: it does not divide the trainer's {gpus} GPUs (trainer.nnodes × trainer.n_gpus_per_node); "
            "set it to a divisor of them"
        )
    heads = model_folder.description(config.actor_rollout_ref.model.path).get("num_attention_heads")
    if heads is not None and heads % parts:
        yield SettingsError(
            f"{key}={parts}: it does not divide the model's num_attention_heads of {heads}; choose one that does"
        )


def sequence_parallel(section: Any) -> tuple[str, int]:
    """Into how many parts FSDP's workers split a sequence.

    Args:
        section: verl's section of a role: actor, reference or critic; its counts are counts.

    Returns:
        The section's key that says so, and the number; 1 under Megatron.
    """
    from omegaconf import OmegaConf

    # The actor's and the reference's, the critic's, and where verl 0.8 had it, whose default is 1.
    keys = [f"{place}ulysses_sequence_parallel_size" for place in ("fsdp_config.", "fsdp.", "")]
    if not str(section.get("strategy")).startswith("fsdp"):
        return keys[0], 1
    return max(((key, OmegaConf.select(section, key) or 1) for key in keys), key=lambda item: item[1])
