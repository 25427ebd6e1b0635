"""Reads verl's validation dumps, and has what every reader of a run's files shares.

A dump is JSON lines. A run in progress may have written half of its last line; that half is ignored. Lines are split at
b"\\n" only, because verl leaves the other separators of Unicode unescaped inside texts.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class RunLogError(ValueError):
    """A run's file is missing, empty, or not what verl writes; the message is one sentence for the user."""


class Step(NamedTuple):
    """One training step as verl logged it; step 0 is the validation before training."""

    step: int
    metrics: dict[str, float]  # not finite where verl logged such a number


def read_dump(path: Path, score_key: str = "score") -> dict[str, list[float]]:
    """Reads one validation dump: the scores of every sample, by the problem's input text.

    A line is `{"input", "output", "gts", "score", "step", "uid", ...}` (`_write_generations` in
    verl/trainer/ppo/v1/trainer_base.py). A rollout with several outputs has a line for each, all with the score of
    the whole rollout; only the first counts, the one whose input is the problem itself.

    Args:
        path: `{trainer.validation_data_dir}/{step}.jsonl`.
        score_key: the field to read, `score` or a number that the reward function adds, such as `acc`.

    Returns:
        The scores by input text, in the order of the file. Problems with the same text are one problem.

    Raises:
        RunLogError: the file is missing, holds no whole line, or holds a line of another form.
    """
    scores: dict[str, list[float]] = {}
    rollouts = set()
    for number, row in enumerate(_json_lines(path, ("input", score_key), "trainer.validation_data_dir"), start=1):
        rollout = rollout_of(row.get("uid"), number)
        if rollout in rollouts:
            continue
        rollouts.add(rollout)
        if not isinstance(row[score_key], int | float):
            raise RunLogError(f"{path}, line {number}: '{score_key}' is {row[score_key]!r}, not a number.")
        scores.setdefault(row["input"], []).append(float(row[score_key]))
    return scores


def finished_dumps(directory: Path) -> dict[int, Path]:
    """Returns the whole validation dumps by step in ascending order; none where there is no such directory.

    A dump that does not end with a whole line is still being written and is left out: some of the problems cannot be
    compared with all of them.
    """
    paths = {int(path.stem): path for path in directory.glob("*.jsonl") if path.stem.isdecimal()}
    return {step: paths[step] for step in sorted(paths) if _is_finished(paths[step])}


def _json_lines(path: Path, required: Sequence[str], setting: str) -> list[dict[str, Any]]:
    if not path.is_file():
        raise RunLogError(f"{path} does not exist: set {setting} to make verl write it.")
    rows = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                if line.endswith(b"\n"):
                    raise RunLogError(f"{path}, line {number} is not JSON: {error}.") from error
                break
            if not isinstance(row, dict) or any(key not in row for key in required):
                keys = " and ".join(map(repr, required))
                raise RunLogError(f"{path}, line {number} is not a JSON object with {keys}.")
            rows.append(row)
    if not rows:
        raise RunLogError(f"{path} is empty: verl has not written a whole line yet.")
    return rows


def _is_finished(path: Path) -> bool:
    with path.open("rb") as dump:
        dump.seek(max(dump.seek(0, os.SEEK_END) - 1, 0))
        return dump.read() == b"\n"


def rollout_of(uid: object, number: int) -> object:
    """Names the rollout of a line, which has several lines if it has several outputs."""
    # verl's key of an output is {sample}_{rollout}_{output}; verl's older trainer writes no key: a rollout per line.
    parts = str(uid).rsplit("_", 2)
    return (parts[0], parts[1]) if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal() else number
