"""Checks that pip adds to an environment that has verl, and replaces nothing.

The environment has the metadata of the packages that verl needs and none of their files. pip resolves by metadata, so
its answer is that of the real one, which would take 2 minutes and 3 GB.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = [pytest.mark.slow, pytest.mark.verl]


def needed(requirement: Requirement, found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Adds what a requirement needs, as pairs of an installed package and one of its extras."""
    name = canonicalize_name(requirement.name)
    for extra in {"", *requirement.extras} - {extra for each, extra in found if each == name}:
        found.add((name, extra))
        for line in importlib.metadata.requires(name) or ():
            further = Requirement(line)
            if further.marker is None or further.marker.evaluate({"extra": extra}):
                needed(further, found)
    return found


OF_VERL = sorted({name for name, _ in needed(Requirement("verl"), set())})


@pytest.fixture
def environment(tmp_path):
    """Returns the folder of packages of an environment with verl, which pip can read but which cannot run."""
    venv.create(tmp_path / "venv", symlinks=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for name in OF_VERL:
        # A directory of another name where pip is old and the package has no wheel.
        metadata = Path(str(importlib.metadata.distribution(name)._path))
        shutil.copytree(metadata, packages / metadata.name)
    return packages


def would_install(packages: Path, wheel: Path, extras: str = "") -> dict[str, str]:
    """Returns the name and version of each package that pip would bring."""
    python = packages.parents[2] / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--disable-pip-version-check"]
    command += ["--dry-run", "--quiet", "--report", "-", f"{wheel}{extras}"]
    # What PYTHONPATH names, pip would take for installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert run.returncode == 0, f"pip found no answer (it needs its package index): {run.stderr[-2000:]}"
    found = (each["metadata"] for each in json.loads(run.stdout)["install"])
    return {canonicalize_name(each["name"]): each["version"] for each in found}


def test_the_plugin_adds_itself_and_two_small_packages_and_changes_no_other(environment, wheel_file):
    assert {"torch", "numpy", "ray", "wrapt", "packaging"} < set(OF_VERL)
    assert set(would_install(environment, wheel_file, "[verl]")) == {"frpo-verl", "jaxtyping", "wadler-lindig"}


def test_no_extra_replaces_what_verl_needs(environment, wheel_file):
    brought = would_install(environment, wheel_file, "[verl,fast,data,math,plot]")
    assert brought.keys() > {"frpo-verl", "jaxtyping", "numba", "math-verify", "matplotlib"}
    assert sorted(brought.keys() & set(OF_VERL)) == []


@pytest.mark.parametrize("version", ["0.7.1", "0.10.0.dev0"])
def test_without_the_extra_a_verl_of_any_version_stays(version, environment, wheel_file):
    (metadata,) = environment.glob("verl-*.dist-info/METADATA")
    shutil.rmtree(metadata.parent)
    other = environment / f"verl-{version}.dist-info" / "METADATA"
    other.parent.mkdir()
    other.write_text(f"Metadata-Version: 2.1\nName: verl\nVersion: {version}\n")
    assert set(would_install(environment, wheel_file)) == {"frpo-verl", "jaxtyping", "wadler-lindig"}


def test_the_extra_would_replace_a_verl_that_it_does_not_admit(environment, wheel_file):
    """Shows that the other tests would notice a replacement."""
    (metadata,) = environment.glob("verl-*.dist-info/METADATA")
    metadata.write_text(
        metadata.read_text().replace(f"\nVersion: {importlib.metadata.version('verl')}", "\nVersion: 0.7.1")
    )
    assert "verl" in would_install(environment, wheel_file, "[verl]")
