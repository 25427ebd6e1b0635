"""Makes copies of the installed verl to put patches into, and runs Python on them."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERIES = sorted((ROOT / "patches").glob("0*.patch"))


def installed() -> Path:
    """Returns where verl is installed, with the tests that its wheel brings."""
    return Path(find_spec("verl").origin).parents[1]


def copy_of_verl(folder: Path) -> None:
    """Puts the installed verl and its trainer's tests into a folder."""
    without_cache = shutil.ignore_patterns("__pycache__")
    for name in ("verl", "tests/trainer"):
        shutil.copytree(installed() / name, folder / name, ignore=without_cache)
    shutil.copy(installed() / "tests" / "__init__.py", folder / "tests")


def apply(patch: Path, verl: Path) -> None:
    """Applies a patch to a copy of verl; the wheel has no docs and no examples."""
    command = ["git", "apply", "--include=verl/*", "--include=tests/*", str(patch)]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(verl.parent)}
    done = subprocess.run(command, cwd=verl, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{patch.name}: {done.stderr}"


def run(verl: Path, *arguments: str, with_plugin: bool = True) -> subprocess.CompletedProcess:
    """Runs Python with that verl in front of the installed one.

    Args:
        verl: a copy of verl.
        *arguments: Python's.
        with_plugin: whether verl loads frpo-verl.

    Returns:
        The ended process.
    """
    variables = {
        "PYTHONPATH": os.pathsep.join([str(verl), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": "1",
        "VERL_USE_EXTERNAL_PLUGINS": "none",
        "VERL_USE_EXTERNAL_MODULES": "frpo_verl.verl_plugin" if with_plugin else "",
    }
    command = [sys.executable, "-P", "-W", "ignore", *arguments]
    return subprocess.run(
        command, cwd=verl, env={**os.environ, **variables}, capture_output=True, text=True, timeout=600
    )
