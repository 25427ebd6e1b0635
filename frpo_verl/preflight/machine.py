"""Checks that this machine, as it is now, can hold a run on the CPU platform."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frpo_verl.preflight import cpu_memory
from frpo_verl.preflight.errors import HostError
from frpo_verl.preflight.ray_names import is_local, ray_options

RAY_SOCKET_SUFFIX = "/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store"
UNIX_SOCKET_PATH_MAX = 107
FREE_DISK_BYTES = 2 << 30
LOCK = Path("/tmp/frpo-verl-cpu.lock")

_held_lock: int | None = None


def problems(config: Any) -> Iterator[str]:
    """Yields what this machine lacks or has in use."""
    yield from _gpu()
    if is_local(config):
        options = ray_options(config)
        yield from _ports(options)
        parent = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
        yield from _temporary_directory(Path(options.get("_temp_dir") or f"{parent}/ray"))
    yield from _shared_memory(config)
    yield from _another_run()
    yield from cpu_memory.problems(config)


def hold() -> None:
    """Makes this process the machine's only run on the CPU platform until it ends.

    verl names the socket that weights travel through after Ray's job id, which every local Ray counts from the same
    start: two runs on a machine would exchange weights.

    Raises:
        HostError: another run holds the machine.
    """
    global _held_lock
    if _held_lock is not None:
        return
    try:
        _held_lock = _locked()
    except OSError as error:
        raise HostError(_held_by_another(error)) from None


def _another_run() -> Iterator[str]:
    if _held_lock is not None or not LOCK.exists():
        return
    try:
        os.close(_locked())
    except OSError as error:
        yield _held_by_another(error)


def _locked() -> int:
    # Where the file is another user's, the kernel forbids opening it with O_CREAT in a shared directory.
    lock = os.open(LOCK, os.O_RDONLY | (0 if LOCK.exists() else os.O_CREAT), 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _held_by_another(error: OSError) -> str:
    return f"{LOCK}: another run holds this machine's CPU platform ({error.strerror}); wait for it or end it"


def _gpu() -> Iterator[str]:
    import torch

    if torch.cuda.is_available():
        yield (
            f"VERL_PLATFORM=cpu: this machine has {torch.cuda.get_device_name()}, and the CPU platform is for machines "
            "without a GPU; unset VERL_PLATFORM"
        )


def _ports(options: dict[str, Any]) -> Iterator[str]:
    for key in ("dashboard_port", "_metrics_export_port"):
        port = options.get(key)
        if not port:
            continue
        with socket.socket() as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                opened.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                yield f"ray_kwargs.ray_init.{key}={port}: the port cannot be used ({error}); choose another"


def _temporary_directory(directory: Path) -> Iterator[str]:
    fix = "set RAY_TMPDIR to a directory with a short path that you can write to"
    if len(str(directory)) + len(RAY_SOCKET_SUFFIX) > UNIX_SOCKET_PATH_MAX:
        yield f"Ray's temporary directory {directory}: the path is too long for its sockets; {fix}"
        return
    existing = next(folder for folder in (directory, *directory.parents) if os.path.exists(folder))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield f"Ray's temporary directory {directory}: {existing} is not a directory that you can write to; {fix}"
        return
    free = _free_bytes(existing)
    if free < FREE_DISK_BYTES:
        yield (
            f"Ray's temporary directory {directory}: {free / 2**30:.1f} GiB are free, "
            f"{FREE_DISK_BYTES / 2**30:.0f} GiB are needed; {fix}"
        )


def _shared_memory(config: Any) -> Iterator[str]:
    bucket = config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes
    free, needed = _free_bytes(Path("/dev/shm")) >> 20, bucket * config.trainer.n_gpus_per_node
    if free < needed:
        yield (
            f"/dev/shm: {free} MiB are free, and weights travel through {needed} MiB of it; make it larger (docker run "
            "--shm-size=2g) or lower actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
        )


def _free_bytes(directory: Path) -> int:
    statistics = os.statvfs(directory)
    return statistics.f_bavail * statistics.f_frsize
