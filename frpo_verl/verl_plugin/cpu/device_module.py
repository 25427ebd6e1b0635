"""Answers for the CPU the functions of `torch.cuda` that verl calls on a device module.

Memory figures are those of this process and machine, in bytes.
"""

import contextlib
import resource
from typing import Any

import psutil
import torch

manual_seed = torch.manual_seed
manual_seed_all = torch.manual_seed


def is_available() -> bool:
    return True


def current_device() -> torch.device:
    # Not an index: verl passes this to `.to(device=…)`, where an integer means an accelerator.
    return torch.device("cpu")


def device_count() -> int:
    return 1


def set_device(device: Any) -> None:
    pass


def get_device_name(device: Any = None) -> str:
    return "cpu"


def synchronize(device: Any = None) -> None:
    pass


def empty_cache() -> None:
    pass


def ipc_collect() -> None:
    pass


def get_rng_state(device: Any = None) -> torch.Tensor:
    return torch.get_rng_state()


def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
    torch.set_rng_state(state)


def memory_allocated(device: Any = None) -> int:
    return psutil.Process().memory_info().rss


def memory_reserved(device: Any = None) -> int:
    return memory_allocated()


def max_memory_allocated(device: Any = None) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def max_memory_reserved(device: Any = None) -> int:
    return max_memory_allocated()


def reset_peak_memory_stats(device: Any = None) -> None:
    pass


def mem_get_info(device: Any = None) -> tuple[int, int]:
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def current_stream(device: Any = None) -> Any:
    return torch.cpu.current_stream()


def stream(stream: Any) -> contextlib.AbstractContextManager:
    return torch.cpu.stream(stream)
