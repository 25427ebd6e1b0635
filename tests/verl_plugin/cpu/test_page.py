"""Checks the page of the CPU platform: its table is what the shims say of themselves."""

from pathlib import Path

import pytest

from frpo_verl.verl_plugin.cpu.shims import SHIMS

PAGE = Path(__file__).parents[3] / "frpo_verl/verl_plugin/cpu/README.md"
TITLE = "| change | host | reason |\n| --- | --- | --- |\n"


def test_the_table_of_changes_is_that_of_the_shims():
    rows = (
        f"| {shim.name} (`{shim.apply.__module__.rpartition('.')[2]}.py`) | {shim.hosts[-1]} {', '.join(shim.versions)} "
        f"| {shim.reason} |\n"
        for shim in SHIMS
    )
    assert TITLE + "".join(rows) in PAGE.read_text()


@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_every_change_has_a_reason_of_one_line_and_a_version(shim):
    assert shim.versions and "\n" not in shim.reason and len(shim.reason) < 110
