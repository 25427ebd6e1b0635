"""Checks the plugin's page: its tables name every metric, key and estimator, as the code and the tests have them."""

import ast
import dataclasses
from pathlib import Path

import torch

from frpo_verl.advantage import TreeFigures
from frpo_verl.advantage.diagnostics import Diagnostics
from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS
from frpo_verl.advantage.variant import Variant
from frpo_verl.losses import LOSSES
from frpo_verl.preflight import variants
from frpo_verl.verl_plugin import figures, kl_loss, note

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "frpo_verl" / "verl_plugin" / "README.md").read_text()


def test_every_metric_has_a_row():
    slots, valid = torch.zeros(3), torch.ones(3, dtype=torch.bool)
    names = {
        **figures.of_batch(Diagnostics(*[0.0] * 4, [0.0] * 3, [0.0] * 10, *[0.0] * 3), 0.1),
        **figures.of_tokens(slots, slots, valid, valid, Variant(token_clip=1.0)),
        **figures.of_sets(TreeFigures(*[0.0] * 4)),
        f"actor/{kl_loss.WEIGHED}": 0,
        "actor/frpo/divergence_to_ref/token_mean": 0,
        "actor/frpo/drift_from_old/token_mean": 0,
        f"actor/{note.SUBTRACTED}": 0,
    }
    assert "frpo/future_term/profile/tenth_05" in names
    ends = {name for name in names if "tenth_" not in name or name.endswith("01")}
    assert [name for name in ends if f"`{name}`" not in PAGE] == []


def test_every_key_of_the_variant_has_a_row_with_its_values():
    rows = {row.split("|")[1].strip(" `"): row for row in PAGE.splitlines() if row.startswith("| `")}
    for field in dataclasses.fields(Variant):
        row = rows[field.name]
        default = "null" if field.default is None else str(field.default).removesuffix(".0")
        assert f"**{default}**" in row or f"**`{default}`**" in row
        assert [value for value in variants._CHOICES.get(field.name, ()) if f"`{value}`" not in row] == []


def test_what_the_mode_means_for_every_estimator_is_what_the_tests_say():
    file = ROOT / "tests" / "verl_plugin" / "test_every_estimator.py"
    (meaning,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "MEANING"
    ]
    assert len(meaning) > 10
    assert [name for name, line in meaning.items() if f"| `{name}` | {line} |" not in PAGE] == []


def test_every_module_of_the_route_is_there():
    route = PAGE.split("## The route of a batch")[1].split("## ")[0]
    named = {word.split(".")[0] for word in route.split() if word.endswith(".py")}
    assert named >= {"hooks", "run", "control", "note"}
    assert [name for name in named if not (ROOT / "frpo_verl" / "verl_plugin" / f"{name}.py").exists()] == []


def test_methods_that_there_are_have_a_place_on_a_page():
    for name in (*TOKEN_WEIGHTS, *LOSSES):
        pages = (ROOT / "frpo_verl" / room / "README.md" for room in ("advantage", "losses"))
        assert any(f"`{name}`" in page.read_text() for page in pages)
