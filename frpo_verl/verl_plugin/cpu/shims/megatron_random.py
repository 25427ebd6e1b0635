"""Keeps Megatron's random states in the CPU's generator, the only one there is."""

import inspect
import logging
from types import ModuleType

import torch

from frpo_verl.verl_plugin.cpu.shims.shim import Shim

_EXPECTED = "CPU RNG state changed within GPU RNG context"


def _get(device: object = "cuda", clone: bool = False, graph_safe: bool = False) -> torch.Tensor:
    return torch.get_rng_state()


def _set(new_state: torch.Tensor, device: object = -1, graph_safe: bool = False) -> None:
    torch.set_rng_state(new_state)


def _is_needed(random: ModuleType) -> bool:
    return "torch.cuda" in inspect.getsource(random._get_cuda_rng_state)


def _apply(random: ModuleType) -> None:
    for function, given in ((random._get_cuda_rng_state, ()), (random._set_cuda_rng_state, (None,))):
        inspect.signature(function).bind(*given, device="cuda", graph_safe=False)
    random._get_cuda_rng_state, random._set_cuda_rng_state = _get, _set
    # The warning is about the CPU's state changing, which is intended here.
    logging.getLogger(random.__name__).addFilter(lambda record: _EXPECTED not in record.getMessage())


SHIM = Shim(
    name="random states of the CPU",
    module="megatron.core.tensor_parallel.random",
    hosts=("megatron-core",),
    versions=("0.16.1",),
    reason="Megatron sets random states through torch's CUDA extension, which silently postpones that",
    is_needed=_is_needed,
    apply=_apply,
)
