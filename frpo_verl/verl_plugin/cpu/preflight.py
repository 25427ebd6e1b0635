"""What the CPU platform asks of a configuration and of the machine, said before Ray starts."""

import os
import socket
import tempfile
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from frpo_verl.verl_plugin.cpu import memory
from frpo_verl.verl_plugin.errors import SettingsError


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
        "actor_rollout_ref.actor.strategy",
        "fsdp2",
        "the CPU platform runs FSDP2",
        "actor_rollout_ref.actor.strategy=fsdp2",
    ),
    Requirement(
        "actor_rollout_ref.ref.strategy",
        "fsdp2",
        "the CPU platform runs FSDP2",
        "actor_rollout_ref.ref.strategy=fsdp2",
    ),
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
        "actor_rollout_ref.model.use_remove_padding",
        False,
        "packed sequences need flash-attn, which has no CPU build",
        "actor_rollout_ref.model.use_remove_padding=False",
    ),
)

RAY_SOCKET_SUFFIX = "/ray/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store"
UNIX_SOCKET_PATH_MAX = 107
FREE_DISK_BYTES = 2 << 30


def check(config: DictConfig) -> None:
    """Refuses what cannot run.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
    """
    _check_requirements(config)
    _check_ray(config)
    memory.check(config)


def _check_requirements(config: DictConfig) -> None:
    for requirement in REQUIREMENTS:
        value = OmegaConf.select(config, requirement.key)
        if value != requirement.value:
            raise SettingsError(f"{requirement.key}={value}: {requirement.reason}; set {requirement.flag}")


def _check_ray(config: DictConfig) -> None:
    options = config.ray_kwargs.get("ray_init", {})
    if os.environ.get("RAY_ADDRESS") or options.get("address"):
        return
    wanted = config.trainer.n_gpus_per_node * config.trainer.nnodes
    if (options.get("num_gpus") or 0) < wanted:
        raise SettingsError(
            f"ray_kwargs.ray_init.num_gpus={options.get('num_gpus')}: verl places one worker per logical GPU and "
            f"trainer asks for {wanted}; set +ray_kwargs.ray_init.num_gpus={wanted} (no GPU is used)"
        )
    for key in ("dashboard_port", "_metrics_export_port"):
        if options.get(key):
            _check_port(f"ray_kwargs.ray_init.{key}", options[key])
    _check_temporary_directory(Path(options.get("_temp_dir") or os.environ.get("RAY_TMPDIR") or "/tmp"))


def _check_port(key: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingsError(f"{key}={port}: the port cannot be used ({error.strerror}); choose another") from None


def _check_temporary_directory(directory: Path) -> None:
    fix = "set RAY_TMPDIR to a directory with a short path that you can write to"
    if len(str(directory)) + len(RAY_SOCKET_SUFFIX) > UNIX_SOCKET_PATH_MAX:
        raise SettingsError(f"Ray's temporary directory {directory}: too long a path for its sockets; {fix}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        ray_directory = directory / "ray"
        if ray_directory.exists():
            with tempfile.TemporaryFile(dir=ray_directory):
                pass
    except OSError as error:
        raise SettingsError(
            f"Ray's temporary directory {directory}: {error.strerror} ({error.filename}); {fix}"
        ) from None
    statistics = os.statvfs(directory)
    free = statistics.f_bavail * statistics.f_frsize
    if free < FREE_DISK_BYTES:
        raise SettingsError(
            f"Ray's temporary directory {directory}: {free / 2**30:.1f} GiB are free, "
            f"{FREE_DISK_BYTES / 2**30:.0f} GiB are needed; {fix}"
        )
