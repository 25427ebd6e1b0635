"""Adds a verl platform for machines without a GPU: real workers and real vLLM, over gloo.

Imported only with `VERL_PLATFORM=cpu`. The platform answers "not available" to verl's detection: on a GPU cluster the
driver and CPU-only actors often sit on a node without a GPU, and there this platform must stay invisible.
"""

from types import ModuleType

import wrapt

from frpo_verl.verl_plugin.cpu.shims import SHIMS
from frpo_verl.verl_plugin.cpu.shims.shim import schedule


def install() -> None:
    """Registers the platform with verl, and schedules the shims."""
    wrapt.register_post_import_hook(_register_platform, "verl.plugin.platform.platform_manager")
    for shim in SHIMS:
        schedule(shim)


def _register_platform(platform_manager: ModuleType) -> None:
    from frpo_verl.verl_plugin.cpu.platform import CpuPlatform

    platform_manager.PlatformRegistry.register(platform="cpu")(CpuPlatform)
