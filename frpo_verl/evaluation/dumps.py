"""Reads verl's dumps, of validation and of rollouts, line by line, and says of every file and line why it is unfit.

A line is `{"input", "output", "gts", "score", "step", "uid", …}` (`_write_generations` in
verl/trainer/ppo/v1/trainer_base.py). Lines end at b"\\n" only, because verl leaves the other separators of Unicode
unescaped inside texts.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from frpo_verl.findings import Findings, Mistake

ALL = "all"
"""Data source of samples that do not name theirs, as verl's dumps do not."""

_FIX = "give a dump of verl's, written to its end"


class UnfitDump(ValueError):
    """A dump is not used; `sentences` has one for every kind of mistake, with its first line."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def files(folder: Path) -> dict[int, Path]:
    """Returns the dumps of a folder, STEP.jsonl, by step in ascending order; none where there is no such folder."""
    found = {int(file.stem): file for file in folder.glob("*.jsonl") if file.stem.isdecimal() and file.is_file()}
    return dict(sorted(found.items()))


def cut(file: Path) -> str:
    """Returns a sentence on a dump that does not end with a whole line; empty where it does.

    A part of the problems cannot be compared with all of them.
    """
    with file.open("rb") as dump:
        dump.seek(max(dump.seek(0, os.SEEK_END) - 1, 0))
        if dump.read() == b"\n":
            return ""
        dump.seek(0)
        line = sum(block.count(b"\n") for block in iter(lambda: dump.read(2**20), b"")) + 1
    return f"{file}, line {line}: it is cut off, since verl is writing the file or was stopped; the file is left out"


def scores(file: Path, step: int, score_key: str = "score") -> dict[str, list[float]]:
    """Reads the scores of every sample, by the problem's key; see `samples`."""
    found: dict[str, list[float]] = {}
    for _, row in samples(file, step, score_key):
        found.setdefault(key_of_row(row), []).append(float(row[score_key]))
    return found


def samples(
    file: Path, step: int, score_key: str = "score", told: Callable[[int], object] = lambda count: None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the samples of a dump with the number of their line.

    A rollout with several outputs has a line for each, one after the other, all with the score of the whole rollout;
    only the first counts, the one whose input is the problem itself.

    Args:
        file: `STEP.jsonl`.
        step: the one of its name.
        score_key: the field to read as the score, `score` or a number that the reward function adds, such as `acc`.
        told: called with the bytes of each line.

    Yields:
        Number and fields of each line without a mistake.

    Raises:
        UnfitDump: at the end, if any line had a mistake, there is none, or the file changed: what was yielded is
            another sample then.
    """
    before, findings = _state(file), Findings()
    number, last = 0, None
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            told(len(line))
            row = _row(line)
            mistakes = list(_mistakes(row, line, step, score_key))
            for mistake in mistakes:
                findings.add(file, f"line {number}", mistake)
            if mistakes:
                continue
            earlier, last = last, _rollout(row.get("uid"), number)
            if last != earlier:
                yield number, row
    if _state(file) != before:
        raise UnfitDump([f"{file}: it was written to while it was read; run the same command again when it is whole"])
    if sentences := findings.sentences():
        raise UnfitDump(sentences)
    if not number:
        raise UnfitDump([f"{file}: it holds no line; wait until verl has written it"])


def source_of(row: dict[str, Any]) -> str:
    """Returns a line's data source."""
    return str(row.get("data_source") or ALL)


def key_of_row(row: dict[str, Any]) -> str:
    """Names the problem of a line."""
    return key_of(row["input"], row.get("gts"), source_of(row))


def key_of(asked: Any, gold: Any, source: str) -> str:
    """Names a problem: what is asked, the right answer, the data source."""
    text = json.dumps([asked, gold, source], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _row(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
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
        if not _is_finite(score):
            yield Mistake(
                score_key, f"{score!r} is not a finite number"[:80], "find out why the reward function gave it"
            )
        if row.get("step", step) != step:
            yield Mistake("step", f"it is {row['step']!r} in a file of step {step}", "do not put dumps together")


def _is_finite(score: Any) -> bool:
    try:
        return isinstance(score, int | float) and math.isfinite(score)
    except OverflowError:
        return False


def _rollout(uid: object, number: int) -> object:
    """Names the rollout of a line, which has several lines if it has several outputs."""
    # verl's key of an output is {sample}_{rollout}_{output}; verl's older trainer writes no key: a rollout per line.
    parts = str(uid).rsplit("_", 2)
    return (parts[0], parts[1]) if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal() else number


def _state(file: Path) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns
