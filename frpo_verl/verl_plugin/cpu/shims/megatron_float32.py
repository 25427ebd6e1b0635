"""Lets verl's Megatron engine run in float32."""

import inspect
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _checked_as_half(host: Callable, config: object) -> None:
    asked = config.dtype
    if asked == "float32":
        object.__setattr__(config, "dtype", "bfloat16")
    try:
        host(config)
    finally:
        object.__setattr__(config, "dtype", asked)


def _is_needed(engine: ModuleType) -> bool:
    return '["bfloat16", "float16"]' in inspect.getsource(engine.McoreEngineConfig.__post_init__)


def _apply(engine: ModuleType) -> None:
    wrap(engine.McoreEngineConfig, "__post_init__", _checked_as_half)


SHIM = Shim(
    name="Megatron in float32",
    module="verl.workers.config.engine",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl refuses float32 for Megatron, and only in float32 do two engines agree to the last digits",
    is_needed=_is_needed,
    apply=_apply,
)
