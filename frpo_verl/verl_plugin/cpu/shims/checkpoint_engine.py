"""Registers a checkpoint engine that needs no GPU in verl's own registry."""

from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim

NAME = "cpu"
"""The value of verl's key `actor_rollout_ref.rollout.checkpoint_engine.backend`."""


def _is_needed(base: ModuleType) -> bool:
    return NAME not in base.CheckpointEngineRegistry._registry


def _apply(base: ModuleType) -> None:
    # Only now: the engine derives from a class of the module that was just imported.
    from frpo_verl.verl_plugin.cpu.checkpoint_engine import CpuCheckpointEngine

    base.CheckpointEngineRegistry.register(NAME)(CpuCheckpointEngine)


SHIM = Shim(
    name="checkpoint engine for the CPU",
    module="verl.checkpoint_engine.base",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl's engines for a separate rollout pool need cupy, CUDA or RDMA",
    is_needed=_is_needed,
    apply=_apply,
)
