"""What the CPU platform asks of a configuration and of the machine, said before Ray starts."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from frpo_verl.preflight import cpu_memory, layout
from frpo_verl.preflight.errors import SettingsError
from frpo_verl.preflight.ray_names import cluster_address


class Requirement(NamedTuple):
    """A key that has one working value on a CPU.

    Attributes:
        key: the key in verl's configuration.
        value: the working value.
        reason: why the others do not work.
        flag: how to set it on the command line.
    """

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
"""`actor_rollout_ref.actor.strategy`, and what it asks for."""

RAY_SOCKET_SUFFIX = "/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store"
UNIX_SOCKET_PATH_MAX = 107
FREE_DISK_BYTES = 2 << 30
LOCK = Path("/tmp/frpo-verl-cpu.lock")

_held_lock: int | None = None


def check(config: DictConfig) -> None:
    """Refuses what cannot run.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
    """
    _check_no_gpu()
    check_settings(config)
    _check_ray(config)
    _check_shared_memory(config)
    _be_the_only_run()
    cpu_memory.check(config)


def check_settings(config: DictConfig) -> None:
    """Refuses what cannot run on any machine without a GPU.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
    """
    _check_requirements(config)
    _check_pool(config)


def _check_no_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        raise SettingsError(
            f"VERL_PLATFORM=cpu: this machine has {torch.cuda.get_device_name()}, and the CPU platform is for machines "
            "without a GPU; unset VERL_PLATFORM"
        )


def _check_requirements(config: DictConfig) -> None:
    strategy = config.actor_rollout_ref.actor.strategy
    if strategy not in ENGINES:
        raise SettingsError(
            f"actor_rollout_ref.actor.strategy={strategy}: the CPU platform runs FSDP2 and Megatron; set "
            "actor_rollout_ref.actor.strategy=fsdp2, or model_engine=megatron"
        )
    for requirement in (*REQUIREMENTS, *ENGINES[strategy]):
        value = OmegaConf.select(config, requirement.key)
        if value != requirement.value:
            raise SettingsError(f"{requirement.key}={value}: {requirement.reason}; set {requirement.flag}")


def _check_pool(config: DictConfig) -> None:
    """What verl's asynchronous trainers ask for beside the actor."""
    if not layout.pool_gpus(config):
        return
    key = "actor_rollout_ref.rollout.checkpoint_engine.backend"
    backend = OmegaConf.select(config, key)
    if backend != "cpu":
        raise SettingsError(f"{key}={backend}: it needs an accelerator; set {key}=cpu, which this plugin brings")
    if config.actor_rollout_ref.actor.strategy != "fsdp2":
        return
    key = "actor_rollout_ref.actor.fsdp_config.reshard_after_forward"
    if _updates_per_synchronisation(config) > 1 and not OmegaConf.select(config, key):
        raise SettingsError(
            f"{key}=False with several updates between weight synchronisations: weights that verl sets aside in "
            f"between have to be whole; set {key}=True"
        )


def _updates_per_synchronisation(config: DictConfig) -> int:
    mode = OmegaConf.select(config, "trainer.v1.trainer_mode")
    keys = (f"trainer.v1.{mode}.parameter_sync_step", "async_training.trigger_parameter_sync_step")
    return max(OmegaConf.select(config, key, default=1) for key in keys)


def _check_ray(config: DictConfig) -> None:
    options = config.ray_kwargs.get("ray_init", {})
    address = cluster_address(options)
    if address != "local" and (options.get("num_gpus") or options.get("num_cpus")):
        raise SettingsError(
            f"RAY_ADDRESS={address}: a running Ray cluster has its own places, and Ray refuses ray_init.num_gpus and "
            "num_cpus there; set RAY_ADDRESS=local, or leave both out and start the cluster with them"
        )
    if address != "local":
        return
    wanted = layout.trainer_gpus(config) + layout.pool_gpus(config)
    if (options.get("num_gpus") or 0) < wanted:
        raise SettingsError(
            f"ray_kwargs.ray_init.num_gpus={options.get('num_gpus')}: verl places one worker per logical GPU and "
            f"trainer and rollout ask for {wanted}; set +ray_kwargs.ray_init.num_gpus={wanted} (no GPU is used)"
        )
    for key in ("dashboard_port", "_metrics_export_port"):
        if options.get(key):
            _check_port(f"ray_kwargs.ray_init.{key}", options[key])
    parent = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    _check_temporary_directory(Path(options.get("_temp_dir") or f"{parent}/ray"))


def _check_shared_memory(config: DictConfig) -> None:
    bucket = config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes
    statistics = os.statvfs("/dev/shm")
    free = statistics.f_bavail * statistics.f_frsize >> 20
    needed = bucket * config.trainer.n_gpus_per_node
    if free < needed:
        raise SettingsError(
            f"/dev/shm: {free} MiB are free, and weights travel through {needed} MiB of it; make it larger (docker run "
            "--shm-size=2g) or lower actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
        )


def _be_the_only_run() -> None:
    """Holds a lock until this driver ends.

    verl names the socket that weights travel through by Ray's job id, which every local Ray counts from the same start:
    two runs on a machine would exchange weights.
    """
    global _held_lock
    if _held_lock is not None:
        return
    try:
        # Where the file is another user's, the kernel forbids opening it with O_CREAT in a shared directory.
        lock = os.open(LOCK, os.O_RDONLY | (0 if LOCK.exists() else os.O_CREAT), 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SettingsError(
            f"{LOCK}: another run holds this machine's CPU platform ({error.strerror}); wait for it or end it"
        ) from None
    _held_lock = lock


def _check_port(key: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise SettingsError(f"{key}={port}: the port cannot be used ({error}); choose another") from None


def _check_temporary_directory(directory: Path) -> None:
    fix = "set RAY_TMPDIR to a directory with a short path that you can write to"
    if len(str(directory)) + len(RAY_SOCKET_SUFFIX) > UNIX_SOCKET_PATH_MAX:
        raise SettingsError(f"Ray's temporary directory {directory}: too long a path for its sockets; {fix}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise SettingsError(f"Ray's temporary directory {directory}: {error.strerror}; {fix}") from None
    statistics = os.statvfs(directory)
    free = statistics.f_bavail * statistics.f_frsize
    if free < FREE_DISK_BYTES:
        raise SettingsError(
            f"Ray's temporary directory {directory}: {free / 2**30:.1f} GiB are free, "
            f"{FREE_DISK_BYTES / 2**30:.0f} GiB are needed; {fix}"
        )
