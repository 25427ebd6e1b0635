"""Turns the number of tokens for each rank into the type that an all-to-all expects."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _as_asked(host: Callable, tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
    return tensor.numpy() if as_numpy and hasattr(tensor, "numpy") else tensor


def _is_needed(moe_utils: ModuleType) -> bool:
    return "tensor.is_cuda" in inspect.getsource(moe_utils.maybe_move_tensor_to_cpu)


def _apply(moe_utils: ModuleType) -> None:
    inspect.signature(moe_utils.maybe_move_tensor_to_cpu).bind(None, as_numpy=True, record_stream=True)
    wrap(moe_utils, "maybe_move_tensor_to_cpu", _as_asked)


SHIM = Shim(
    name="split sizes as numbers",
    module="megatron.core.transformer.moe.moe_utils",
    hosts=("megatron-core",),
    versions=("0.16.1",),
    reason="Megatron-Core converts split sizes for an all-to-all only if they are on a GPU",
    is_needed=_is_needed,
    apply=_apply,
)
