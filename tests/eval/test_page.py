"""The page's section: its options, quantities and table are the command's."""

import argparse
import re
from pathlib import Path

from frpo_verl.eval import command, measured, output
from frpo_verl.eval.measured import Estimate
from frpo_verl.eval.output import Result
from frpo_verl.evaluation.intervals import Interval

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "evaluation" / "README.md").read_text()
SECTION = PAGE.split("## Models by their samples\n")[1].split("\n## ")[0]


def test_every_option_that_is_named_is_one():
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    said = parser.parse_args(["eval", "x"])
    named = {word.replace("-", "_") for word in re.findall(r"--([a-z][a-z-]*)", SECTION.replace("--duplicates", ""))}
    assert named and {name for name in named if not hasattr(said, name)} == set()


def test_every_quantity_is_explained():
    rows = {name for row in re.findall(r"^\| (\S.*?) \|", SECTION, re.M) for name in row.split(", ")}
    ratios = (measured.ENTROPY, measured.DIVERGENCE, measured.LENGTH)
    assert rows >= {measured.PASS, measured.BEST, measured.MEAN, measured.MAJ, *(name.split(",")[0] for name in ratios)}


def test_the_table_is_as_it_is_printed():
    shown = SECTION.split("```\n")[3].rstrip()
    estimates = []
    for name, *rest in (re.split(r" {2,}", line) for line in shown.splitlines()[2:]):
        ends = [Interval(*map(float, each.split(" to "))) for each in rest[1:3]]
        kind, k = name.split("@")
        deviation = None if rest[3] == "-" else float(rest[3])
        k = int(k) if k.isdecimal() else None
        estimates.append(Estimate(f"{kind}@k", k, float(rest[0]), *ends, deviation, []))
    result = Result(8, "reasoning_gym/chain_sum", ["a", "b", "c"], 40, (8, 8), estimates)
    assert output.table([result]) == shown
