"""Copies the weights that verl sets aside on the CPU, instead of keeping the live ones under another name."""

import inspect
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _save_copies(host: Callable, model) -> tuple[dict, object]:
    state, spec = host(model)
    return {name: (tensor.clone(), tensor_spec) for name, (tensor, tensor_spec) in state.items()}, spec


def _is_needed(fsdp_utils: ModuleType) -> bool:
    # Its `.cpu()` copies off an accelerator, but on the CPU it returns the live weight, which the optimizer then
    # changes: old log-probs would silently be those of the newest weights.
    return ".clone()" not in inspect.getsource(fsdp_utils.fsdp2_sharded_save_to_cpu)


def _apply(fsdp_utils: ModuleType) -> None:
    wrap(fsdp_utils, "fsdp2_sharded_save_to_cpu", _save_copies)


SHIM = Shim(
    name="copied saved weights",
    module="verl.utils.fsdp_utils",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl's asynchronous trainers set weights aside with .cpu(), which on a CPU copies nothing",
    is_needed=_is_needed,
    apply=_apply,
)
