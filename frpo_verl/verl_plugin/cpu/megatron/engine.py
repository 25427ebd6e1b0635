"""Subclasses verl's Megatron engines so that "cuda" means the CPU inside each of their methods."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from verl.workers.engine.megatron.transformer_impl import MegatronEngineWithLMHead, MegatronEngineWithValueHead

from frpo_verl.verl_plugin.cpu.megatron.redirection import cuda_means_cpu

_ENTRANCES = (
    "__init__",
    "initialize",
    "forward_backward_batch",
    "optimizer_zero_grad",
    "optimizer_step",
    "lr_scheduler_step",
    "to",
    "save_checkpoint",
    "load_checkpoint",
)
"""The methods by which a worker uses an engine."""


def _redirected(engine: type) -> type:
    """Returns a subclass with the same name."""

    def entrance(name: str) -> Callable:
        host = getattr(engine, name)

        @functools.wraps(host)
        def method(*args: Any, **kwargs: Any) -> Any:
            with cuda_means_cpu():
                return host(*args, **kwargs)

        return method

    @functools.wraps(engine.get_per_tensor_param)
    def get_per_tensor_param(self: Any, *args: Any, **kwargs: Any) -> Any:
        with cuda_means_cpu():
            parameters, peft_config = engine.get_per_tensor_param(self, *args, **kwargs)
        return _step_by_step(parameters), peft_config

    methods = {name: entrance(name) for name in _ENTRANCES} | {"get_per_tensor_param": get_per_tensor_param}
    return type(engine.__name__, (engine,), {**methods, "__module__": __name__, "__doc__": engine.__doc__})


def _step_by_step(parameters: Iterator[Any]) -> Iterator[Any]:
    # A generator's body runs only inside `next`; between two of them the caller's code runs, outside the context.
    while True:
        with cuda_means_cpu():
            try:
                parameter = next(parameters)
            except StopIteration:
                return
        yield parameter


CpuMegatronEngineWithLMHead = _redirected(MegatronEngineWithLMHead)
CpuMegatronEngineWithValueHead = _redirected(MegatronEngineWithValueHead)
