"""The page's numbers and snippets are those of the code."""

import re
from pathlib import Path

import torch
from enumerated import VARIANT_ERROR

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "advantage" / "README.md").read_text()


def test_the_errors_of_the_variants_are_the_ones_that_the_tests_compute():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for name, errors in VARIANT_ERROR.items():
        cells = " | ".join(f"{error:.4f}" if error else "exact" for error in errors)
        assert [row for row in rows if row.startswith(f"| {name} |") and row.endswith(f"| {cells} |")]


def test_the_snippets_run():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 4
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert torch.isfinite(names["reg"]).all()
    assert torch.isfinite(names["done"].advantages).all()
