"""Implements verl's platform interface for the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase

from frpo_verl.preflight.environment import is_on_cpu
from frpo_verl.verl_plugin.cpu import device_module


class CpuPlatform(PlatformBase):
    """Presents the CPU as verl's device: gloo for collectives, logical "GPU" resources for Ray's placement."""

    device_name = "cpu"
    vendor_name = "cpu"

    @property
    def device_module(self) -> ModuleType:
        return device_module

    def is_available(self) -> bool:
        return is_on_cpu()

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        # Detection must never pick this platform; an explicit VERL_PLATFORM does not go through detection.
        return False

    def current_device(self) -> torch.device:
        return device_module.current_device()

    def device_count(self) -> int:
        return device_module.device_count()

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        pass

    def profiler_stop(self) -> None:
        pass

    def ray_resource_name(self) -> str:
        # verl counts only "GPU" and "NPU" resources; the recipes declare logical ones (ray_init.num_gpus).
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        # Weights travel through shared memory.
        return False

    def cudart(self) -> Any:
        return None
