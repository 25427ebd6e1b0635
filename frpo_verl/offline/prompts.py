"""Reads prompts as verl's RL trainers do, and merges identical ones."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.findings import Findings, Mistake

CARRIED = ("data_source", "reward_model", "extra_info")
"""verl's columns, that a file of graded responses carries along."""


class Prompts(NamedTuple):
    """Holds distinct prompts.

    Attributes:
        table: `prompt` and those of `CARRIED` that are there.
        origin: the row of the file that each prompt is the first of.
        merged: how many rows of the file had the prompt, source and answer of an earlier one.
    """

    table: Any
    origin: list[int]
    merged: int

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows as Python's objects."""
        return self.table.to_pylist()


def read(path: Path, graded: bool) -> tuple[Prompts | None, list[str]]:
    """Reads a parquet file of prompts.

    Args:
        path: of the file.
        graded: a reward function will grade responses to them, by `data_source` and `reward_model.ground_truth`.

    Returns:
        The prompts, or a sentence for everything that is wrong with them.
    """
    from pyarrow import ArrowException, parquet

    where = f"--prompts {path}"
    if not path.is_file():
        return None, [f"{where}: there is no such file; correct the path, or make it, for instance by `frpo-verl data`"]
    try:
        names = parquet.read_schema(path).names
        table = parquet.read_table(path, columns=[name for name in ("prompt", *CARRIED) if name in names])
    except (ArrowException, OSError) as error:
        return None, [f"{where}: not a valid parquet file ({' '.join(str(error).split())}); make it again"]
    needed = ("prompt", "data_source", "reward_model") if graded else ("prompt",)
    if missing := [name for name in needed if name not in names]:
        there = ", ".join(names)
        return None, [
            f"{where}: it has no column {', '.join(missing)}, only {there}; `frpo-verl data` makes such files"
        ]
    if table.num_rows == 0:
        return None, [f"{where}: it has no rows; make it again"]
    rows, findings = table.to_pylist(), Findings()
    for number, row in enumerate(rows):
        for mistake in _unfit(row, graded):
            findings.add(path, f"row {number}", mistake)
    if found := findings.sentences():
        return None, [f"--prompts {sentence}" for sentence in found]
    first = _first(rows)
    return Prompts(table.take(first), first, len(rows) - len(first)), []


def identity(row: dict[str, Any]) -> str:
    """Names a prompt: what is asked, of which source, and the right answer."""
    return json.dumps([row["prompt"], row.get("data_source"), gold(row)], sort_keys=True, default=str)


def gold(row: dict[str, Any]) -> Any:
    """Returns the right answer, by which verl's rewards grade; None where there is none."""
    answer = row.get("reward_model")
    return answer.get("ground_truth") if isinstance(answer, dict) else answer


def unfit_prompt(prompt: Any) -> Iterator[Mistake]:
    """Yields what makes a prompt neither a text nor chat messages."""
    messages = isinstance(prompt, list) and all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in prompt
    )
    if not prompt or not (isinstance(prompt, str) or messages):
        what = f"{_short(prompt)} is neither a text nor chat messages" if prompt else "nothing stands there"
        yield Mistake("prompt", what, "give a text, or a list of messages with role and content")


def too_long(lengths: Sequence[int], rows: Sequence[int], most: int, where: str) -> Iterator[str]:
    """Yields a sentence where prompts have more than so many tokens; `rows` are the file's."""
    over = [row for row, length in zip(rows, lengths, strict=True) if length > most]
    if over:
        more = f" (and {len(over) - 1} more)" if len(over) > 1 else ""
        yield (
            f"{where}, row {over[0]}{more}: up to {max(lengths)} tokens, and --max-prompt-tokens={most}; "
            "raise it, or leave them out"
        )


def sha256(path: Path) -> str:
    """Hashes a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unfit(row: dict[str, Any], graded: bool) -> Iterator[Mistake]:
    yield from unfit_prompt(row["prompt"])
    if not graded:
        return
    if row["data_source"] is None:
        yield Mistake("data_source", "nothing stands there", "name the source, by which rewards grade")
    if not isinstance(row["reward_model"], dict) or row["reward_model"].get("ground_truth") is None:
        yield Mistake("reward_model", "there is no ground_truth", "give the right answer")


def _first(rows: Sequence[dict[str, Any]]) -> list[int]:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        seen.setdefault(identity(row), number)
    return list(seen.values())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
