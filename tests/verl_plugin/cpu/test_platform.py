"""The CPU platform is there when asked for, and invisible otherwise."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("verl")

pytestmark = pytest.mark.slow


def python(program: str, platform: str | None) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("VERL_PLATFORM", "VERL_ENGINE_DEVICE")
    }
    if platform is not None:
        environment["VERL_PLATFORM"] = platform
    command = [sys.executable, "-P", "-W", "ignore", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


WHICH = (
    "from verl.plugin.platform import get_platform; print(type(get_platform()).__name__, get_platform().device_name)"
)


def test_verls_detection_never_picks_it_even_when_it_is_first():
    program = """
from verl.plugin.platform import platform_manager
from verl.plugin.platform.platform_manager import PlatformRegistry
import os
cpu = PlatformRegistry.get("cpu")()
asked = cpu.is_available()
os.environ.pop("VERL_PLATFORM", None)
# first in line, it is still passed over
PlatformRegistry._platforms = {"cpu": type(cpu), **PlatformRegistry._platforms}
print(asked, cpu.is_platform_available(use_smi_check=True), platform_manager._detect_platform_name())
"""
    assert python(program, "cpu") == "True False nvidia"


def test_unasked_verl_chooses_as_if_we_were_not_there_and_no_shim_touches_the_host():
    program = f"""
{WHICH}
from verl.plugin.platform.platform_manager import PlatformRegistry
print(PlatformRegistry.get("cpu"))
import importlib
from frpo_verl.verl_plugin.cpu.shims import SHIMS, vllm_version
assert vllm_version.SHIM.is_needed(None)
vllm_version.SHIM.apply(None)  # without it the modules of the other shims cannot be imported
for shim in SHIMS[1:]:
    assert shim.is_needed(importlib.import_module(shim.module)), shim.name
print("untouched")
"""
    said = python(program, None).splitlines()
    assert (*said[:2], said[-1]) == ("PlatformCUDA cuda", "None", "untouched")


def test_asked_for_it_is_verls_platform_and_every_shim_fits_the_installed_hosts():
    program = f"""
{WHICH}
import importlib, os, tempfile
from frpo_verl.verl_plugin.cpu.shims import SHIMS
for shim in SHIMS:
    importlib.import_module(shim.module)
from importlib.metadata import version
from verl.workers.engine.base import EngineRegistry
import verl.workers.engine.fsdp
print(EngineRegistry.get_engine_cls("language_model", "fsdp2").__name__, version("vllm"))
os.environ.update(RANK="0", WORLD_SIZE="1", DIST_INIT_METHOD=f"file://{{tempfile.mktemp()}}")
from verl.utils.distributed import initialize_global_process_group_ray
initialize_global_process_group_ray(timeout_second=30)
import torch
print(torch.distributed.get_backend())
"""
    said = python(program, "cpu").splitlines()
    assert (said[0], *said[-2:]) == ("CpuPlatform cpu", "FSDPEngineWithLMHead 0.28.0+cpu", "gloo")


def test_memory_figures_are_those_of_the_machine():
    from frpo_verl.verl_plugin.cpu import device_module

    free, total = device_module.mem_get_info()
    assert 0 < device_module.memory_allocated() < total
    assert 0 < device_module.max_memory_allocated() < total
    assert 0 < free < total
