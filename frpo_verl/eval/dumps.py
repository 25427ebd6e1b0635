"""Makes problems of a dump of verl's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from frpo_verl.eval.problem import Problem, Samples, boxed, voted
from frpo_verl.evaluation import dumps

PRED = "pred"
"""Field of the answer that a response gives, by which verl's `maj@N` votes, too."""


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
    problems: dict[str, Problem] = {}
    has_field = False
    try:
        for number, row in dumps.samples(file, step, score_key, told):
            has_field |= row.get(PRED) is not None
            made = Problem(f"{file}, line {number}", dumps.source_of(row))
            problems.setdefault(dumps.key_of_row(row), made).add(float(row[score_key]), _answer(row))
    except dumps.UnfitDump as unfit:
        return None, unfit.sentences
    return Samples(problems, voted(problems, has_field)), []


def _answer(row: dict[str, Any]) -> str | None:
    # verl writes None where the reward function of that data source says none
    return boxed(str(row["output"])) if row.get(PRED) is None else str(row[PRED])
