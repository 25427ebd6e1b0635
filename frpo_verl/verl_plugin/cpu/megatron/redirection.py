"""Runs code that says "cuda" on the CPU, inside a context and nowhere else.

Megatron-Core names the device in some two hundred places: `device="cuda"`, `torch.cuda.current_device()`,
`tensor.cuda()`, `tensor.type() == "torch.cuda.FloatTensor"`. PyTorch's own mechanism for this is a mode that sees every
function of torch before it runs (`torch.overrides.TorchFunctionMode`); the plain functions of `torch.cuda` bypass it
and are replaced while the context is open. Wrapping `torch.zeros` and the like instead would outlive the context, and
break `with torch.device("meta")`, after which transformers silently loads wrong rotary tables.
"""

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin.cpu import device_module

_CPU = torch.device("cpu")


@functools.cache
def _is_available() -> bool:
    return torch.cuda.is_available()


def _seed(seed: int) -> None:
    # torch.manual_seed would call torch.cuda's in turn, which is this function.
    torch.default_generator.manual_seed(int(seed))


class _Stream:
    """Replaces `torch.cuda.Stream` and `Event`: the CPU does everything in the order of the calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    wait_stream = wait_event = synchronize = record = wait = _nothing

    def record_event(self, *args: Any) -> "_Stream":
        return self


def _current_stream(device: Any = None) -> _Stream:
    return _Stream()


def _stream(stream: Any) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


def _stand_ins() -> dict[str, Any]:
    """Returns what replaces attributes of `torch.cuda`; `is_available` still tells the truth."""
    functions = {
        name: value
        for name, value in vars(device_module).items()
        if inspect.isfunction(value) and value.__module__ == device_module.__name__ and name != "is_available"
    }
    types = {name: getattr(torch, name) for name in ("FloatTensor", "HalfTensor", "BFloat16Tensor")}
    streams = {"Stream": _Stream, "Event": _Stream, "current_stream": _current_stream, "stream": _stream}
    return {**functions, **types, **streams, "default_stream": _current_stream, "manual_seed": _seed}


_STAND_INS = _stand_ins()
_originals: dict[str, Any] = {}
_contexts = 0
_lock = threading.Lock()


class _CudaMeansCpu(TorchFunctionMode):
    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.Tensor.cuda, torch.Tensor.pin_memory):
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            # Megatron's optimizers group parameters by this name.
            return func(*args).replace("torch.", "torch.cuda.", 1)
        if func is torch.Tensor.to and len(args) > 1 and _is_cuda(args[1]):
            args = (args[0], _CPU, *args[2:])
        if _is_cuda(kwargs.get("device")):
            kwargs = {**kwargs, "device": _CPU}
        if kwargs.get("pin_memory"):
            # Page-locked memory belongs to an accelerator.
            kwargs = {**kwargs, "pin_memory": False}
        return func(*args, **kwargs)


def _is_cuda(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.startswith("cuda")


@contextlib.contextmanager
def cuda_means_cpu() -> Iterator[None]:
    """Opens a context in which "cuda" is the CPU; contexts may be nested, and opened by several threads at once.

    Tensors are redirected only in the thread that opened it; the functions of `torch.cuda` are replaced for all threads
    until the last context closes. Raises HostError where there is a CUDA device.
    """
    if _is_available():
        raise HostError(
            "VERL_PLATFORM=cpu: this machine has a GPU, and the CPU platform is for machines without one; unset it"
        )
    _exchange(entering=True)
    try:
        with _CudaMeansCpu():
            yield
    finally:
        _exchange(entering=False)


def _exchange(entering: bool) -> None:
    global _contexts
    with _lock:
        _contexts += 1 if entering else -1
        if entering and _contexts == 1:
            _originals.update({name: getattr(torch.cuda, name) for name in _STAND_INS})
            vars(torch.cuda).update(_STAND_INS)
        elif _contexts == 0:
            vars(torch.cuda).update(_originals)
