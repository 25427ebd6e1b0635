"""Asks torch for one gloo backend instead of two for the same device."""

import inspect
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _with_gloo(host: Callable, timeout_second: float | None = None, backend: str | None = None) -> None:
    return host(timeout_second=timeout_second, backend=backend or "gloo")


def _is_needed(distributed: ModuleType) -> bool:
    # verl composes a backend for the accelerator and one for the CPU; "cpu:gloo,cpu:gloo" is refused by torch.
    return "cpu:gloo," in inspect.getsource(distributed.initialize_global_process_group_ray)


def _apply(distributed: ModuleType) -> None:
    inspect.signature(distributed.initialize_global_process_group_ray).bind(timeout_second=None, backend="gloo")
    wrap(distributed, "initialize_global_process_group_ray", _with_gloo)


SHIM = Shim(
    name="one gloo backend",
    module="verl.utils.distributed",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl asks torch for cpu:gloo,cpu:gloo, a duplicate device",
    is_needed=_is_needed,
    apply=_apply,
)
