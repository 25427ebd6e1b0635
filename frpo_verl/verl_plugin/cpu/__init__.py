"""A verl platform for machines without a GPU: real workers, real vLLM, over gloo.

Active only when asked for (`VERL_PLATFORM=cpu`). It answers "not available" to verl's detection: on a GPU cluster the
driver and CPU-only actors often sit on a node without a GPU, and there this platform must stay invisible.
"""

import os
from types import ModuleType
from typing import Any

import wrapt

from frpo_verl.verl_plugin.cpu.shims import SHIMS
from frpo_verl.verl_plugin.cpu.shims.shim import schedule


def is_asked_for() -> bool:
    """Whether this process runs on the CPU platform.

    Returns:
        True when VERL_PLATFORM=cpu.
    """
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def variables() -> dict[str, str]:
    """What every worker's environment has to say, also on a node that was started without it.

    Returns:
        By name; nothing on other platforms.
    """
    return {"VERL_PLATFORM": "cpu"} if is_asked_for() else {}


def install() -> None:
    """Registers the platform with verl and, when it is asked for, the shims; light and idempotent."""
    wrapt.register_post_import_hook(_register_platform, "verl.plugin.platform.platform_manager")
    if is_asked_for():
        for shim in SHIMS:
            schedule(shim)


def check(config: Any) -> None:
    """Refuses a configuration or a machine that the platform cannot run.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
    """
    from frpo_verl.verl_plugin.cpu import preflight

    preflight.check(config)


def check_settings(config: Any) -> None:
    """Refuses a configuration that the platform cannot run, whatever this machine does at the moment.

    Args:
        config: verl's whole configuration.

    Raises:
        SettingsError: what, the value, the fix.
    """
    from frpo_verl.verl_plugin.cpu import preflight

    preflight.check_settings(config)


def _register_platform(platform_manager: ModuleType) -> None:
    from frpo_verl.verl_plugin.cpu.platform import CpuPlatform

    platform_manager.PlatformRegistry.register(platform="cpu")(CpuPlatform)
