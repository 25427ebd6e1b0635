"""Builds the sdist and the wheel once and without a network; the wheel from the sdist, as an index's users would."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRATCH = (".*env*", ".git", ".*cache", ".hypothesis", "build", "dist", "runs", "*.egg-info", "__pycache__")


def build(kind: str, source: Path, folder: Path) -> Path:
    folder.mkdir()
    program = f"import setuptools.build_meta as b; b.build_{kind}({str(folder)!r})"
    subprocess.run([sys.executable, "-P", "-c", program], cwd=source, check=True, capture_output=True, timeout=120)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="session")
def sdist_file(tmp_path_factory):
    """Returns the path of the sdist, built from a copy, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*SCRATCH))
    return build("sdist", folder / "tree", folder / "built")


@pytest.fixture(scope="session")
def wheel_file(sdist_file, tmp_path_factory):
    """Returns the path of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(sdist_file, folder)
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked, folder / "built")
