"""The page's snippet runs, and what it names is there."""

import importlib
import re
from pathlib import Path

import torch

from frpo_verl.rows import DEVICE_BLOCK

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "frpo_verl" / "losses" / "fpa.md").read_text()


def test_the_snippet_runs_and_raises_what_is_chosen():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict = {}
    exec(block, names)
    gradient = names["logits"].grad.gather(1, names["tokens"][:, None]).view(4, 6)
    # the loss falls as the logit of the response's own token rises, and row 2 is rejected twice
    assert (gradient[[0, 3]] < 0).all() and (gradient[[1, 2]] > 0).all()
    mixed = names["negatives_only"](names["current"], names["ahead"])
    assert torch.equal(mixed.up, names["current"].up) and torch.equal(mixed.down, names["ahead"].down)


def test_functions_and_tests_that_it_names_are_there():
    functions = re.findall(r"^\| `(\w+)\.(\w+)` \|", PAGE, re.M) + re.findall(r"`(coefficients)\.(\w+)`", PAGE)
    assert len(functions) == 5
    for module, name in functions:
        assert callable(getattr(importlib.import_module(f"frpo_verl.losses.{module}"), name))
    tests = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert len(tests) >= 5 and [name for name in tests if not (ROOT / "tests" / "losses" / name).exists()] == []


def test_the_sizes_that_it_states():
    entries = 151_936
    assert f"is {8192 * entries * 2 / 1e9:.1f} GB" in PAGE and f"{entries * 2 / 1e3:.0f} kB a token" in PAGE
    assert "blocks of tokens (of 2²⁴ logits at most" in PAGE and DEVICE_BLOCK == 2**24
