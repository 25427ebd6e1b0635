"""The README names what is there: every file, shim, metric and setting."""

import re
import subprocess
from pathlib import Path

import pytest
from enumerated import LOSS_SIDE_ERROR, VARIANT_ERROR
from mutants import MUTANTS

from frpo_verl.divergences import BY_NAME
from frpo_verl.evaluation import divergences
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
    recipes = README.split("## Recipes")[1].split("\n## ")[0]
    unnamed = [name for name in sorted(names) if f" {name} " not in tree and f"`{name}`" not in recipes]
    assert unnamed == []


@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_every_shim_has_a_row_with_its_reason(shim):
    rows = [row for row in README.splitlines() if row.startswith(f"| {shim.name} ")]
    assert len(rows) == 1
    assert shim.reason in rows[0]
    assert shim.versions[-1] in rows[0]


def test_every_metric_is_documented():
    import torch

    from frpo_verl.advantage import diagnose
    from frpo_verl.preflight.variants import Variant
    from frpo_verl.verl_plugin import metrics, worker

    row, mask = torch.zeros(1, 3), torch.ones(1, 3)
    figures = {
        **metrics.of_step(torch.zeros(1, 3), torch.ones(1), 0.1),
        **metrics.of_term(diagnose(row, row, mask), 0.1),
        **metrics.of_tokens(row, row, mask, Variant(token_clip=1.0)),
        "actor/frpo/divergence_to_ref/token_mean": 0,
        "actor/frpo/drift_from_old/token_mean": 0,
        f"actor/{worker.SUBTRACTED}": 0,
    }
    assert "frpo/future_term/profile/tenth_05" in figures
    ends = {name for name in figures if "tenth_" not in name or name.endswith("01")}
    assert [name for name in ends if f"`{name}`" not in README] == []


def test_every_key_of_the_variant_has_a_row_with_its_values():
    import dataclasses

    from frpo_verl.preflight import variants

    rows = {row.split("|")[1].strip(" `"): row for row in README.splitlines() if row.startswith("| `")}
    for field in dataclasses.fields(variants.Variant):
        row = rows[field.name]
        default = "null" if field.default is None else str(field.default).removesuffix(".0")
        assert f"**{default}**" in row or f"**`{default}`**" in row
        assert [value for value in variants._CHOICES.get(field.name, ()) if f"`{value}`" not in row] == []


def test_what_the_mode_means_for_every_estimator_is_what_the_tests_say():
    import ast

    file = ROOT / "tests" / "verl_plugin" / "test_every_estimator.py"
    (meaning,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "MEANING"
    ]
    assert len(meaning) > 10
    assert [name for name, line in meaning.items() if f"| `{name}` | {line} |" not in README] == []


def test_every_divergence_is_documented():
    assert [name for name in BY_NAME if f"`{name}`" not in README] == []


def test_the_table_of_divergences_is_the_one_that_the_code_prints():
    assert divergences.table() in README


def test_the_enumerated_errors_are_the_ones_that_the_tests_compute():
    cells = " | ".join(f"{error:.4f}" for error in LOSS_SIDE_ERROR.values())
    assert f"| {' | '.join(LOSS_SIDE_ERROR)} |" in README
    assert f"| {cells} |" in README
    for name, errors in VARIANT_ERROR.items():
        cells = " | ".join(f"{error:.4f}" if error else "exact" for error in errors)
        assert [
            line for line in README.splitlines() if line.startswith(f"| {name} |") and line.endswith(f"| {cells} |")
        ]


def test_the_number_of_mutants_is_the_one_that_there_are():
    assert f"{len(MUTANTS)} hand-written mistakes" in README


def test_the_snippets_of_the_core_run():
    import torch

    from frpo_verl import divergences as package

    blocks = [block for block in re.findall(r"```python\n(.*?)```", README, re.S)]
    assert len(blocks) == 3
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["FOURTH"], package.Generator)
    assert torch.isfinite(names["reg"]).all()


def test_no_placeholder_is_left_and_every_link_into_the_repository_leads_somewhere():
    assert re.findall(r"@[A-Z_]+@", README) == []
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    titles = [line.lstrip("# ").lower() for line in README.splitlines() if line[:1] == "#"]
    # as the forges make anchors: punctuation goes
    headings = {"#" + re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}
    assert [link for link in links if link not in headings and not (ROOT / link).exists()] == []
