"""Restores a float32 optimizer's parameters from a checkpoint."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap

_SETTER = "_set_main_param_and_optimizer_states"


def _without_gradient(host: Callable, *args: Any, **kwargs: Any) -> Any:
    # In float32 the main parameter is a view of the model's parameter, which requires a gradient.
    with torch.no_grad():
        return host(*args, **kwargs)


def _is_needed(distrib_optimizer: ModuleType) -> bool:
    return "no_grad" not in inspect.getsource(getattr(distrib_optimizer.DistributedOptimizer, _SETTER))


def _apply(distrib_optimizer: ModuleType) -> None:
    wrap(distrib_optimizer.DistributedOptimizer, _SETTER, _without_gradient)


SHIM = Shim(
    name="checkpoints of a float32 optimizer",
    module="megatron.core.optimizer.distrib_optimizer",
    hosts=("megatron-core",),
    versions=("0.16.1",),
    reason="torch refuses to copy into a parameter that requires a gradient, and in float32 the main one does",
    is_needed=_is_needed,
    apply=_apply,
)
