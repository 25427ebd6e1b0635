"""The page's table, numbers and snippet are those of the code."""

import re
from pathlib import Path

from enumerated import LOSS_SIDE_ERROR

from frpo_verl.divergences import BY_NAME, Generator
from frpo_verl.divergences.table import table

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "divergences" / "README.md").read_text()


def test_the_table_is_the_one_that_the_code_prints():
    assert table() in PAGE
    assert [name for name in BY_NAME if f"`{name}`" not in PAGE] == []


def test_the_errors_of_the_loss_are_the_ones_that_the_tests_compute():
    cells = " | ".join(f"{error:.4f}" for error in LOSS_SIDE_ERROR.values())
    assert f"| {' | '.join(LOSS_SIDE_ERROR)} |" in PAGE
    assert f"| {cells} |" in PAGE


def test_the_snippet_makes_a_generator():
    names: dict = {}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(block, names)
    assert isinstance(names["FOURTH"], Generator)
