"""The page of the data: its table is the catalogue's, its commands are ones that the command line knows."""

import re
import shlex
from pathlib import Path

from frpo_verl import cli, data
from frpo_verl.data import reading
from frpo_verl.rewards.box import INSTRUCTION, LONGEST_OF_A_TASK

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "data" / "README.md").read_text()


def test_the_table_of_the_sets_is_the_catalogues():
    expected = [
        f"| `{name}` | `{part.name}.parquet`, {part.split} | {f'{part.rows:,}' if part.rows else 'about 14,000'} | "
        f"{' or '.join(hub.repository for hub in part.hubs)} |"
        for name, parts in data.SETS.items()
        for part in parts
    ]
    assert [line for line in PAGE.splitlines() if re.match(r"\| `[a-z0-9_]+` \| `\w+\.parquet`", line)] == expected


def test_formats_defaults_and_limits_are_the_codes():
    assert all(f"`{suffix}`" in PAGE for suffix in reading.FORMATS)
    draw = data.Draw()
    assert f"drawn ({draw.size:,}), `--seed` is reasoning-gym's ({draw.seed})," in PAGE
    assert f"share of the test file ({draw.held_out})" in PAGE
    assert f"{LONGEST_OF_A_TASK:,} characters" in PAGE and INSTRUCTION in PAGE


def test_every_command_is_one_that_can_be_read(monkeypatch):
    read = []
    monkeypatch.setattr("frpo_verl.data.command.run", lambda options: read.append(options) or 0)
    commands = re.findall(r"^frpo-verl (data.*)$", PAGE, re.M)
    assert [cli.main(shlex.split(command, comments=True)) for command in commands] == [0] * 5
    assert {name for options in read for name in options.names} >= {*data.SETS} - {"gsm8k"}
