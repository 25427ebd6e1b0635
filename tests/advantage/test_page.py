"""The pages' numbers and snippets are those of the code."""

import re
from pathlib import Path

import pytest
import torch
from benchmarks.tree_toy import row
from enumerated import DIVIDED_ERROR, LENGTH_BASELINE_ERROR, VARIANT_ERROR
from oracles import group_normalised
from tree_oracles import FIGURE, FIGURE_REWARDS, set_sizes

ROOM = Path(__file__).parents[2] / "frpo_verl" / "advantage"
PAGE, LAMBDA_GRPO, VARIANCE = ((ROOM / name).read_text() for name in ("README.md", "lambda_grpo.md", "variance.md"))


def test_the_errors_of_the_variants_are_the_ones_that_the_tests_compute():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for name, errors in {
        **VARIANT_ERROR,
        "length baseline, in batches of two responses": LENGTH_BASELINE_ERROR,
    }.items():
        cells = " | ".join(f"{error:.4f}" if error else "exact" for error in errors)
        assert [row for row in rows if row.startswith(f"| {name} |") and row.endswith(f"| {cells} |")]


def test_the_errors_of_a_divided_term_are_the_ones_that_the_tests_compute():
    rows = re.findall(r"^\| (\d+) \| (0\.\d{4}) \| (0\.\d{4}) \|$", LAMBDA_GRPO, re.M)
    assert {int(size): (float(plain), float(scaled)) for size, plain, scaled in rows} == DIVIDED_ERROR


def run(page: str) -> dict:
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block, names)
    return names


def test_the_snippets_run():
    names = run(PAGE)
    assert PAGE.count("```python") == 4
    assert torch.isfinite(names["reg"]).all()
    assert torch.isfinite(names["done"].advantages).all()


def test_the_snippet_of_lambda_grpo_runs():
    assert run(LAMBDA_GRPO)["weights"].tolist() == [[0.5, 1, 0], [0.5, 1, 0], [0.5, 1, 1], [0.5, 1, 1]]


def test_the_snippet_of_the_baseline_runs_and_its_errors_are_those_of_the_tests():
    assert torch.isfinite(run(VARIANCE)["advantages"]).all()
    k1, k3 = LENGTH_BASELINE_ERROR
    assert f"| moves | {k1:.2f} (k1), {k3:.2f} (k3) |" in VARIANCE


def test_the_papers_figure_is_the_one_of_the_tests():
    rows = re.findall(r"^\| (\d) \| ([\d ]+) \| ([\d ]+) \| (\S+) \|$", LAMBDA_GRPO, re.M)
    responses, sizes = ([[int(number) for number in row[cell].split()] for row in rows] for cell in (1, 2))
    assert [tuple(response) for response in responses] == FIGURE
    assert sizes == set_sizes(FIGURE, [0] * 6)
    advantages = [float(row[3].replace("−", "-")) for row in rows]
    assert advantages == pytest.approx(group_normalised(FIGURE_REWARDS, [0] * 6, 0.0), abs=5e-3)


@pytest.mark.thorough
def test_a_row_of_the_toy_is_what_its_program_prints():
    assert row(shared=1, reward=-0.5, rate=1.0, runs=100) in LAMBDA_GRPO.splitlines()
