"""Checks the sdist and the wheel, built without a network."""

import email
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import frpo_verl

ROOT = Path(__file__).parents[2]
NAME = f"frpo_verl-{frpo_verl.__version__}"
# Useful only to those who have the repository.
NOT_IN_AN_SDIST = {".ci", ".github", ".gitignore"}


@pytest.fixture(scope="module")
def wheel(wheel_file):
    """Opens the wheel."""
    with zipfile.ZipFile(wheel_file) as archive:
        yield archive


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: this is the sdist already")
    return set(listed.stdout.splitlines())


@pytest.fixture(scope="module")
def names(sdist_file):
    """Returns the files in the sdist, without the folder that holds them all."""
    with tarfile.open(sdist_file) as archive:
        return {member.name.removeprefix(f"{NAME}/") for member in archive if member.isfile()}


def test_an_sdist_is_the_repository_so_that_the_readmes_commands_work_from_it(names):
    wanted = {name for name in tracked() if name.split("/")[0] not in NOT_IN_AN_SDIST}
    assert wanted > {"Makefile", "recipes/run_cpu.sh", "tests/conftest.py", "requirements-cpu.txt", "Dockerfile"}
    assert sorted(name for name in wanted - names if (ROOT / name).exists()) == []


def test_an_sdist_has_nothing_that_building_leaves_behind(names):
    assert [name for name in names if name.endswith(".pyc") or name.split("/")[0] in ("build", "dist", "runs")] == []


def test_a_wheel_is_the_package_with_its_types_and_configurations_and_nothing_else(wheel):
    kinds = ("*.py", "*.yaml", "*.html", "py.typed")
    package = {str(file.relative_to(ROOT)) for kind in kinds for file in (ROOT / "frpo_verl").rglob(kind)}
    metadata = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
    assert {"frpo_verl/py.typed", "frpo_verl/verl_plugin/config/frpo_trainer.yaml"} < package
    assert set(wheel.namelist()) == package | {f"{NAME}.dist-info/{name}" for name in metadata}


def test_a_wheel_is_for_every_machine_and_loads_the_plugin_in_verl(wheel):
    assert wheel.filename.endswith(f"{NAME}-py3-none-any.whl")
    entry_points = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert "[verl.plugins]\nfrpo = frpo_verl.verl_plugin" in entry_points
    assert "[console_scripts]\nfrpo-verl = frpo_verl.cli:main" in entry_points


def test_the_metadata_says_licence_version_and_readme(wheel):
    metadata = email.message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == frpo_verl.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    # An index refuses a licence classifier next to an expression.
    assert not [each for each in metadata.get_all("Classifier") if each.startswith("License ::")]
