"""Reads verl's dumps line by line, and says of every file and line why it cannot be used."""

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from frpo_verl.eval.problem import ALL, Problem, Samples, boxed, key_of, voted
from frpo_verl.evaluation.run_log import rollout_of
from frpo_verl.offline.findings import Findings, Mistake

PRED = "pred"
"""Field of the answer that a response gives, by which verl's `maj@N` votes, too."""

_FIX = "give a dump of verl's, written to its end"


def read(file: Path, step: int, score_key: str, told: Callable[[int], None]) -> tuple[Samples | None, list[str]]:
    """Reads one dump.

    Args:
        file: `STEP.jsonl`.
        step: the one of its name.
        score_key: the field to read as the score.
        told: called with the bytes of each line.

    Returns:
        The samples, or a sentence for every kind of mistake, with its first line; a file with one is not used, since
        what is left of it would be another sample.
    """
    before, findings, problems = _state(file), Findings(), {}
    has_field, last = False, None
    for number, line in enumerate(_lines(file), start=1):
        told(len(line))
        row = _row(line)
        mistakes = list(_mistakes(row, line, step, score_key))
        for mistake in mistakes:
            findings.add(file, f"line {number}", mistake)
        if mistakes:
            continue
        # verl sorts the outputs of a rollout into a row, and all have the rollout's score
        earlier, last = last, rollout_of(row.get("uid"), number)
        if last == earlier:
            continue
        has_field |= row.get(PRED) is not None
        source = row.get("data_source", ALL)
        problem = problems.setdefault(
            key_of(row["input"], row.get("gts"), source), Problem(f"{file}, line {number}", source)
        )
        problem.add(float(row[score_key]), _answer(row))
    if _state(file) != before:
        return None, [f"{file}: it was written to while it was read; run the same command again when it is whole"]
    if sentences := findings.sentences():
        return None, sentences
    if not problems:
        return None, [f"{file}: it holds no line; wait until verl has written it"]
    return Samples(problems, voted(problems, has_field)), []


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        yield from lines


def _row(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _mistakes(row: Any, line: bytes, step: int, score_key: str) -> Iterator[Mistake]:
    if not line.endswith(b"\n"):
        yield Mistake("its end", "it is cut off", _FIX)
    elif not isinstance(row, dict):
        yield Mistake("1", "it is not a JSON object", _FIX)
    elif missing := [name for name in ("input", "output", score_key) if name not in row]:
        yield Mistake(missing[0], f"there is none, only {', '.join(row)}"[:200], f"{_FIX}, or another --score-key")
    else:
        score = row[score_key]
        if not isinstance(score, int | float) or not math.isfinite(score):
            yield Mistake(
                score_key, f"{score!r} is not a finite number"[:80], "find out why the reward function gave it"
            )
        if row.get("step", step) != step:
            yield Mistake("step", f"it is {row['step']!r} in a file of step {step}", "do not put dumps together")


def _answer(row: dict[str, Any]) -> str | None:
    # verl writes None where the reward function of that data source says none
    return boxed(str(row["output"])) if row.get(PRED) is None else str(row[PRED])


def _state(file: Path) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns
