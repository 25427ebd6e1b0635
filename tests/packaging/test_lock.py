"""Checks requirements-cpu.txt against what asks for it, and the step that writes it."""

import re
import tomllib
from pathlib import Path

import pytest
from lock import HEADER, requirement_lines
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEXT = (ROOT / "requirements-cpu.txt").read_text()
PINNED = {line.split("==")[0]: line.split()[0].split("==")[1] for line in TEXT.splitlines() if "==" in line}


def asked_for(extra: str) -> list[Requirement]:
    """Returns what an extra asks for, directly or through other extras."""
    found = []
    for requirement in map(Requirement, PROJECT["project"]["optional-dependencies"][extra]):
        own = requirement.name == PROJECT["project"]["name"]
        found += [wanted for part in requirement.extras for wanted in asked_for(part)] if own else [requirement]
    return found


# Sorted, as extras are sets: the processes of one test run have to collect alike.
REQUIREMENTS = sorted(
    [
        *map(Requirement, PROJECT["project"]["dependencies"]),
        *asked_for("test"),
        *asked_for("megatron"),
        *map(Requirement, PROJECT["dependency-groups"]["cpu-environment"]),
    ],
    key=str,
)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_a_requirement_is_locked_at_a_version_that_it_admits(requirement):
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


def test_what_is_excluded_is_not_locked():
    assert not PINNED.keys() & set(PROJECT["tool"]["uv"]["exclude-dependencies"])


def test_every_line_is_a_version_with_the_hashes_of_its_files_and_names_no_place():
    line = re.compile(r"[a-z0-9-]+==[\w.+!]+( --hash=sha256:[0-9a-f]{64})+")
    assert TEXT.startswith(HEADER)
    assert [other for other in TEXT.removeprefix(HEADER).splitlines() if not line.fullmatch(other)] == []
    assert len(PINNED) > 200


def test_wheels_are_taken_and_the_source_only_where_there_is_none():
    wheel, other, source = ({"url": f"https://example.org/{name}", "hashes": {"sha256": name}} for name in "wos")
    lock = {
        "packages": [
            {"name": "a", "version": "1", "wheels": [wheel, other], "sdist": source},
            {"name": "b", "version": "2+cpu", "sdist": source},
        ]
    }
    assert list(requirement_lines(lock)) == ["a==1 --hash=sha256:o --hash=sha256:w", "b==2+cpu --hash=sha256:s"]


@pytest.mark.parametrize("files", [{}, {"wheels": [{"hashes": {"md5": "0"}}]}, {"sdist": {"url": "x"}}])
def test_a_package_without_a_hash_is_refused_by_name(files):
    with pytest.raises(ValueError, match="a==1 has no SHA-256"):
        list(requirement_lines({"packages": [{"name": "a", "version": "1", **files}]}))
