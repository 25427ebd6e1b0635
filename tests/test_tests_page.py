"""Checks that what `tests/README.md` names is there: functions, tests, runs."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "tests" / "README.md").read_text()


def rows(title: str) -> list[str]:
    """Returns the rows of the table under a title."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][2:]


@pytest.mark.parametrize("row", rows("The paper, the code, the tests"), ids=lambda row: row.split(" | ")[0][2:])
def test_a_row_of_the_paper_names_functions_and_tests_that_exist(row):
    _, functions, tests = row.strip("| ").split(" | ")
    for room, name in re.findall(r"`(\w+)\.(\w+)`", functions):
        assert hasattr(importlib.import_module(f"frpo_verl.{room}"), name)
    (file,), names = re.findall(r"`(tests/\S+\.py)`", tests), re.findall(r"`(test_\w+)`", tests)
    text = (ROOT / file).read_text()
    assert names and [name for name in names if f"def {name}(" not in text] == []


def test_the_runs_are_those_that_the_tests_start():
    named = {row.split("`")[1] for row in rows("Runs of the real trainer")}
    started = {
        name
        for file in (ROOT / "tests" / "e2e").glob("*.py")
        for name in re.findall(r"\b(?:train|start)\(\s*\"([\w-]+)\"", file.read_text())
    }
    assert named == started


def test_the_make_targets_are_there():
    targets = set(re.findall(r"`make ([a-z-]+)`", PAGE))
    assert targets == {"test", "test-all", "test-fast", "thorough", "mutants"}
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
