"""Gives a resumed optimizer its moments before they are asked for, and the step at which it stopped."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _with_state(host: Callable, *args: Any, **kwargs: Any) -> Any:
    call = inspect.signature(host).bind(*args, **kwargs)
    optimizer = call.arguments["self"].optimizer
    if call.arguments.get("is_loading") and not optimizer.state:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
    return host(*args, **kwargs)


def _with_step(host: Callable, optimizer: Any, state_dict: dict[str, Any]) -> None:
    (step,) = {group["step"] for group in state_dict["optimizer"]["param_groups"]}
    host(optimizer, state_dict)
    for state in optimizer.optimizer.state.values():
        # One tensor each: torch counts in place, and Megatron gives all parameters the same tensor or the old one.
        state["step"] = torch.tensor(float(step))


def _keeping_the_step(host: Callable, optimizer: Any, model_param: Any, tensors: dict[str, Any]) -> Any:
    # A layout-independent checkpoint leaves the step out, but Megatron asks for every state; `_with_step` sets it.
    group, order = optimizer.model_param_group_index_map[model_param]
    state = optimizer.optimizer.state[optimizer.optimizer.param_groups[group]["params"][order]]
    return host(optimizer, model_param, {"step": state["step"], **tensors})


def _is_needed(distrib_optimizer: ModuleType) -> bool:
    return not distrib_optimizer.HAVE_APEX_OR_TE


def _apply(distrib_optimizer: ModuleType) -> None:
    optimizer = distrib_optimizer.DistributedOptimizer
    inspect.signature(optimizer.sharded_state_dict).bind(None, {}, is_loading=True)
    inspect.signature(optimizer.load_state_dict).bind(None, {})
    inspect.signature(optimizer._set_main_param_and_optimizer_states).bind(None, None, {})
    wrap(optimizer, "sharded_state_dict", _with_state)
    wrap(optimizer, "_set_main_param_and_optimizer_states", _keeping_the_step)
    wrap(optimizer, "load_state_dict", _with_step)


SHIM = Shim(
    name="moments and steps of a resumed optimizer",
    module="megatron.core.optimizer.distrib_optimizer",
    hosts=("megatron-core",),
    versions=("0.16.1",),
    reason="with torch's Adam, loading reads the step from a fresh optimizer's empty state and then keeps it",
    is_needed=_is_needed,
    apply=_apply,
)
