"""Estimates the memory that a run on the CPU platform takes of its machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.preflight import layout, model_folder

GIB = 2**30
CONTROL_GROUP = Path("/sys/fs/cgroup")

PROCESSES_BYTES = 3.5 * GIB
"""Interpreters with torch and verl loaded: driver, task runner, storage, agent and reward worker (proportional set
sizes of a run of the tiny model on two ranks, which peaked at 9.4 GiB in total)."""

PROCESSES_PER_RANK_BYTES = 2.25 * GIB
"""An FSDP worker and the three processes of a vLLM replica, without model and cache (the same run)."""

TRAINING_BYTES_PER_PARAMETER = 20
"""float32 weight, gradient, two Adam moments, and the gathered copy that a forward pass uses."""

REFERENCE_BYTES_PER_PARAMETER = 8
"""float32 weight and its gathered copy."""

LOGITS_COPIES = 6
"""float32 tensors of the logits' size alive at the peak of a training micro-batch (logits, log-softmax, entropy and
their gradients)."""


class ModelSize(NamedTuple):
    """A model's number of parameters, and the size of its logits' last dimension."""

    parameters: int
    vocabulary: int


def problems(config: Any) -> Iterator[str]:
    """Yields the model, if this machine's memory cannot hold the run."""
    path = config.actor_rollout_ref.model.path
    size = model_size(path)
    if size is None:
        return
    needed, available = estimate(config, size), available_bytes()
    if needed > available:
        yield (
            f"actor_rollout_ref.model.path={path}: this run needs about {needed / GIB:.1f} GiB of memory "
            f"({size.parameters / 1e6:.0f} M parameters) and {available / GIB:.1f} GiB are available; close other "
            "programs, choose a smaller model, or lower the micro-batch size and VLLM_CPU_KVCACHE_SPACE"
        )


def estimate(config: Any, size: ModelSize) -> float:
    """Returns the peak memory of a run on one machine, in bytes."""
    section = config.actor_rollout_ref
    ranks = config.trainer.n_gpus_per_node
    # A server's share of a rank's processes is not told apart from the worker's: counted whole.
    servers = ranks + layout.pool_gpus(config)
    rollout_bytes = 4 if "32" in str(section.rollout.dtype) else 2
    micro_batch = section.actor.ppo_micro_batch_size_per_gpu or 1
    tokens = micro_batch * (config.data.max_prompt_length + config.data.max_response_length)
    return (
        PROCESSES_BYTES
        + servers * PROCESSES_PER_RANK_BYTES
        + size.parameters * (TRAINING_BYTES_PER_PARAMETER + REFERENCE_BYTES_PER_PARAMETER + servers * rollout_bytes)
        + servers * float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or 4) * GIB
        + ranks * tokens * size.vocabulary * 4 * LOGITS_COPIES
    )


def model_size(path: str | Path) -> ModelSize | None:
    """Returns the size of a model in a folder; None where there is no folder with safetensors."""
    parameters = model_folder.parameters(path) if model_folder.description(path) else None
    return None if parameters is None else ModelSize(parameters, model_folder.size(path, "vocab_size") or 0)


def available_bytes() -> int:
    """Returns the memory that a new program may take: the machine's, or the control group's when that is less."""
    import psutil

    available = psutil.virtual_memory().available
    try:
        limit, used = (int((CONTROL_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        # No limit ("max"), or no such file: the machine's figure is all there is.
        return available
    # Cached file pages count as used but are given back on demand.
    return min(available, limit - used + int(statistics.get("inactive_file", 0)))
