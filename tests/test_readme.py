"""The README names what is there: every file, shim, metric and setting."""

import re
import subprocess
from pathlib import Path

import pytest

from frpo_verl.divergences import BY_NAME
from frpo_verl.verl_plugin.cpu.shims import SHIMS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_file_of_the_package_and_every_recipe_has_a_line_in_the_tree():
    listed = subprocess.run(["git", "ls-files", "frpo_verl", "recipes"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tree = README.split("## The tree")[1]
    names = {Path(line).name for line in listed.stdout.split()} - {"__init__.py", "py.typed"}
    assert len(names) > 20
    assert [name for name in sorted(names) if f" {name} " not in tree and f"\n{name} " not in tree] == []


@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_every_shim_has_a_row_with_its_reason(shim):
    rows = [row for row in README.splitlines() if row.startswith(f"| {shim.name} ")]
    assert len(rows) == 1
    assert shim.reason in rows[0]
    assert shim.versions[-1] in rows[0]


def test_every_metric_is_documented():
    import torch

    from frpo_verl.verl_plugin import metrics

    figures = metrics.of_step(torch.zeros(1, 3), torch.ones(1), 0.1)
    assert [name for name in figures if f"`{name}`" not in README] == []


def test_every_divergence_is_documented():
    assert [name for name in BY_NAME if f"`{name}`" not in README] == []


def test_no_placeholder_is_left_and_every_link_into_the_repository_leads_somewhere():
    assert re.findall(r"@[A-Z_]+@", README) == []
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
