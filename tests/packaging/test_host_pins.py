"""Checks pyproject.toml and Dockerfile against the versions that verl itself pins."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from frpo_verl.preflight.contract import TESTED_VERL

pytestmark = pytest.mark.verl

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = [Requirement(line) for line in importlib.metadata.requires("frpo-verl")]


def pins_of_verl() -> dict[str, set[str]]:
    """Returns the versions that the installed verl fixes with `==`, in any extra."""
    pins = {}
    for requirement in map(Requirement, importlib.metadata.requires("verl")):
        for specifier in requirement.specifier:
            if specifier.operator == "==":
                pins.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return pins


def test_what_verl_pins_is_within_our_bounds():
    pins = pins_of_verl()
    shared = [(ours, pin) for ours in OURS for pin in pins.get(canonicalize_name(ours.name), ())]
    assert {ours.name for ours, _ in shared} >= {"torch"}
    assert [f"{ours}: verl pins {pin}" for ours, pin in shared if not ours.specifier.contains(pin)] == []


def test_the_extra_admits_every_verl_that_is_tested_and_no_other_minor_release():
    (verl,) = (ours.specifier for ours in OURS if ours.name == "verl")
    tested = sorted(map(Version, TESTED_VERL))
    assert all(version in verl for version in tested)
    assert f"{tested[-1].major}.{tested[-1].minor + 1}.0" not in verl
    assert "0.7.1" not in verl


def test_python_is_one_that_verl_runs_on():
    ours = SpecifierSet(importlib.metadata.metadata("frpo-verl")["Requires-Python"])
    verl = SpecifierSet(importlib.metadata.metadata("verl")["Requires-Python"])
    minors = [f"3.{minor}.0" for minor in range(8, 20)]
    assert [minor for minor in minors if minor in ours and minor not in verl] == []
    # verl's images have 3.12, its CPU tests 3.11 or 3.12.
    assert [minor for minor in minors if minor in ours] == ["3.11.0", "3.12.0"]


def test_the_image_has_the_newest_verl_and_what_that_one_pins():
    wanted = re.search(r'"verl==([\d.]+)" "transformers==([\d.]+)" "TransferQueue(>=[\d.]+)"', DOCKERFILE)
    verl, transformers, queue = wanted.groups()
    assert verl == importlib.metadata.version("verl") == TESTED_VERL[-1]
    assert {transformers} == pins_of_verl()["transformers"]
    requirements = map(Requirement, importlib.metadata.requires("verl"))
    assert {queue} == {str(each.specifier) for each in requirements if each.name == "TransferQueue"}


def test_a_build_of_the_image_ends_where_the_plugin_would_not_load():
    assert DOCKERFILE.rstrip().splitlines()[-1] == "RUN frpo-verl doctor --no-ray"


def test_what_the_image_copies_is_sent_to_its_build():
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == sent
    assert [name for name in copied if not (ROOT / name).exists()] == []
