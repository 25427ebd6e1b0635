"""Checks the page of the CPU platform: its table is what the shims say of themselves."""

from pathlib import Path

import pytest

from frpo_verl.verl_plugin.cpu.shims import SHIMS
from frpo_verl.verl_plugin.cpu.shims.shim import Shim

PAGE = Path(__file__).parents[3] / "frpo_verl/verl_plugin/cpu/README.md"
TITLE = "| change | host | reason |\n| --- | --- | --- |\n"


def test_the_table_of_changes_is_that_of_the_shims():
    assert TITLE + "".join(_row(shim) for shim in SHIMS) in PAGE.read_text()


def _row(shim: Shim) -> str:
    file = shim.apply.__module__.rpartition(".")[2]
    return f"| {shim.name} (`{file}.py`) | {shim.hosts[-1]} {', '.join(shim.versions)} | {shim.reason} |\n"


@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_every_change_has_a_reason_of_one_line_and_a_version(shim):
    assert shim.versions and "\n" not in shim.reason and len(shim.reason) < 110
