"""Code that says "cuda" runs on the CPU, while a context is open and nowhere else.

Megatron-Core names the device in some two hundred places: `device="cuda"`, `torch.cuda.current_device()`,
`tensor.cuda()`, `tensor.type() == "torch.cuda.FloatTensor"`. PyTorch's own mechanism for this is a mode that sees every
function of torch before it runs (`torch.overrides.TorchFunctionMode`); the plain functions of `torch.cuda` pass no mode
and are exchanged for the context's time. Wrapping `torch.zeros` and the like instead would outlive the context, and
break `with torch.device("meta")`, by which transformers then loads wrong rotary tables without a word.
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
    # torch.manual_seed would call torch.cuda's in turn, which this one stands for.
    torch.default_generator.manual_seed(int(seed))


class _Stream:
    """In the place of `torch.cuda.Stream` and `Event`: on the CPU all is done in the order in which it is asked for."""

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
    """What `torch.cuda` holds in the context; whether CUDA is there (`is_available`) stays the truth."""
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
            # Megatron's optimizers sort parameters by this name.
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
    """A context in which "cuda" is the CPU; contexts may be nested, and threads may open them at the same time.

    Tensors are made elsewhere in the thread that opened it only; the functions of `torch.cuda` are exchanged for all
    threads, until the last context is left.

    Yields:
        Nothing.

    Raises:
        HostError: there is a CUDA device, so that "cuda" has a meaning of its own.
    """
    if _is_available():
        raise HostError(
            "VERL_PLATFORM=cpu: there is a GPU here, and the CPU platform is for machines without one; unset it"
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
