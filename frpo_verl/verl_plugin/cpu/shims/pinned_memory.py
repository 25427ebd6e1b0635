"""Offloads the reference model without pinning its memory."""

import functools
import inspect
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


def _is_needed(transformer_impl: ModuleType) -> bool:
    return "CPUOffloadPolicy(pin_memory=True)" in inspect.getsource(transformer_impl.FSDPEngine._build_fsdp_module)


def _apply(transformer_impl: ModuleType) -> None:
    policy = transformer_impl.CPUOffloadPolicy

    @functools.wraps(policy)
    def unpinned(pin_memory: bool = True):
        return policy(pin_memory=False)

    transformer_impl.CPUOffloadPolicy = unpinned


SHIM = Shim(
    name="no pinned memory",
    module="verl.workers.engine.fsdp.transformer_impl",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl pins the reference model's memory, and pinning needs an accelerator",
    is_needed=_is_needed,
    apply=_apply,
)
