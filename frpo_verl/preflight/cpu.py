"""Checks what the CPU platform requires of a configuration."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from frpo_verl.preflight import layout
from frpo_verl.preflight.ray_names import cluster_address, ray_options


class Requirement(NamedTuple):
    """A key of verl's that has one working value on a CPU, why, and how to set it on the command line."""

    key: str
    value: object
    reason: str
    flag: str


REQUIREMENTS = (
    Requirement("trainer.device", "cpu", "VERL_PLATFORM=cpu runs on the CPU", "trainer.device=cpu"),
    Requirement(
        "actor_rollout_ref.rollout.name",
        "vllm",
        "the CPU platform serves with vLLM",
        "actor_rollout_ref.rollout.name=vllm",
    ),
    Requirement(
        "actor_rollout_ref.rollout.free_cache_engine",
        False,
        "vLLM's CPU build cannot sleep",
        "actor_rollout_ref.rollout.free_cache_engine=False",
    ),
    Requirement(
        "actor_rollout_ref.rollout.enable_sleep_mode",
        False,
        "vLLM's CPU build cannot sleep",
        "+actor_rollout_ref.rollout.enable_sleep_mode=False",
    ),
    Requirement(
        "actor_rollout_ref.rollout.tensor_model_parallel_size",
        1,
        "the CPU platform serves each rank by a vLLM worker of its own",
        "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    ),
)

OF_FSDP2 = (
    Requirement(
        "actor_rollout_ref.ref.strategy",
        "fsdp2",
        "the reference runs on the actor's engine",
        "actor_rollout_ref.ref.strategy=fsdp2",
    ),
    Requirement(
        "actor_rollout_ref.model.use_remove_padding",
        False,
        "packed sequences need flash-attn, which has no CPU build",
        "actor_rollout_ref.model.use_remove_padding=False",
    ),
)

OF_MEGATRON = (
    Requirement(
        "actor_rollout_ref.ref.strategy",
        "megatron",
        "the reference runs on the actor's engine",
        "actor_rollout_ref.ref.strategy=megatron",
    ),
    Requirement(
        "actor_rollout_ref.actor.megatron.vanilla_mbridge",
        True,
        "Megatron-Bridge needs TransformerEngine, which has no CPU build",
        "actor_rollout_ref.actor.megatron.vanilla_mbridge=True",
    ),
    Requirement(
        "actor_rollout_ref.actor.megatron.use_distributed_optimizer",
        True,
        "the CPU platform is tested with Megatron's distributed optimizer only",
        "actor_rollout_ref.actor.megatron.use_distributed_optimizer=True",
    ),
    Requirement(
        "actor_rollout_ref.model.lora.rank",
        0,
        "LoRA in Megatron workers needs Megatron-Bridge, which needs TransformerEngine",
        "actor_rollout_ref.model.lora.rank=0, or actor_rollout_ref.actor.strategy=fsdp2",
    ),
    *(
        Requirement(
            f"actor_rollout_ref.{role}.megatron.{what}",
            False,
            "weights that are on the CPU cannot be moved there: Megatron would free what it keeps",
            f"actor_rollout_ref.{role}.megatron.{what}=False",
        )
        for role, what in (("actor", "param_offload"), ("actor", "optimizer_offload"), ("ref", "param_offload"))
    ),
)

ENGINES = {"fsdp2": OF_FSDP2, "megatron": OF_MEGATRON}
"""Requirements of each `actor_rollout_ref.actor.strategy`."""


def problems(config: Any) -> Iterator[str]:
    """Yields the settings that cannot run on any machine without a GPU."""
    yield from _requirements(config)
    yield from _pool(config)
    yield from _ray(config)


def _requirements(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    strategy = config.actor_rollout_ref.actor.strategy
    if strategy not in ENGINES:
        yield (
            f"actor_rollout_ref.actor.strategy={strategy}: the CPU platform runs FSDP2 and Megatron; set "
            "actor_rollout_ref.actor.strategy=fsdp2, or model_engine=megatron"
        )
    for requirement in (*REQUIREMENTS, *ENGINES.get(strategy, ())):
        value = OmegaConf.select(config, requirement.key)
        if value != requirement.value:
            yield f"{requirement.key}={value}: {requirement.reason}; set {requirement.flag}"


def _pool(config: Any) -> Iterator[str]:
    """Yields what verl's asynchronous trainers, whose servers have places of their own, cannot run with."""
    from omegaconf import OmegaConf

    if not layout.pool_gpus(config):
        return
    key = "actor_rollout_ref.rollout.checkpoint_engine.backend"
    backend = OmegaConf.select(config, key)
    if backend != "cpu":
        yield f"{key}={backend}: it needs an accelerator; set {key}=cpu, which this plugin brings"
    if config.actor_rollout_ref.actor.strategy != "fsdp2":
        return
    key = "actor_rollout_ref.actor.fsdp_config.reshard_after_forward"
    if _updates_per_synchronisation(config) > 1 and not OmegaConf.select(config, key):
        yield (
            f"{key}=False with several updates between weight synchronisations: the weights that verl sets aside in "
            f"between must be complete; set {key}=True"
        )


def _updates_per_synchronisation(config: Any) -> int:
    from omegaconf import OmegaConf

    mode = OmegaConf.select(config, "trainer.v1.trainer_mode")
    keys = (f"trainer.v1.{mode}.parameter_sync_step", "async_training.trigger_parameter_sync_step")
    return max(OmegaConf.select(config, key, default=1) for key in keys)


def _ray(config: Any) -> Iterator[str]:
    options, address = ray_options(config), cluster_address(config)
    if address != "local":
        if options.get("num_gpus") or options.get("num_cpus"):
            yield (
                f"RAY_ADDRESS={address}: a running Ray cluster has resources of its own, and Ray refuses "
                "ray_init.num_gpus and num_cpus there; set RAY_ADDRESS=local, or leave both out and start the cluster "
                "with them"
            )
        return
    wanted = layout.trainer_gpus(config) + layout.pool_gpus(config)
    if (options.get("num_gpus") or 0) < wanted:
        yield (
            f"ray_kwargs.ray_init.num_gpus={options.get('num_gpus')}: verl places one worker per logical GPU and "
            f"trainer and rollout ask for {wanted}; set +ray_kwargs.ray_init.num_gpus={wanted} (no GPU is used)"
        )
