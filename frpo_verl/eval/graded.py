"""Reads a parquet file of graded responses, as `frpo-verl offline-data` makes it, in blocks."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from frpo_verl.eval.problem import Problem, Samples, boxed, voted
from frpo_verl.evaluation.dumps import ALL, key_of
from frpo_verl.findings import Findings, Mistake
from frpo_verl.offline.prompts import gold
from frpo_verl.trainers.graded import said_of

AT_ONCE = 64
"""Prompts that are in memory at a time."""

NEEDED = ("prompt", "responses", "scores")


def read(file: Path, told: Callable[[int], None]) -> tuple[Samples | None, list[str]]:
    """Reads a file.

    Args:
        file: parquet.
        told: called with the number of rows of each block.

    Returns:
        The samples, or a sentence for everything that is wrong.
    """
    from pyarrow import ArrowException, parquet

    about = said_of(file) or {}
    if problems := list(_unfit(file, about)):
        return None, problems
    try:
        with parquet.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            if missing := [name for name in NEEDED if name not in names]:
                return None, [
                    f"{file}: it has no column {', '.join(missing)}, only {', '.join(names)}; make it by "
                    "`frpo-verl offline-data --duplicates keep`"
                ]
            wanted = (*NEEDED, "preds", "data_source", "reward_model", "log_probs")
            batches = opened.iter_batches(AT_ONCE, columns=[name for name in wanted if name in names])
            return _read(file, batches, "preds" in names, "log_probs" in names and is_the_policys(about), told)
    except (ArrowException, OSError) as error:
        return None, [f"{file}: not a valid parquet file ({' '.join(str(error).split())}); make it again"]


def is_the_policys(about: dict[str, Any]) -> bool:
    """Returns True where samples are known to be those of the policy at temperature 1, as its log-probs are."""
    of = about.get("sampling", {})
    return of.get("temperature") == 1 and of.get("top_p") == 1


def _unfit(file: Path, about: dict[str, Any]) -> Iterator[str]:
    for rule, what in (("duplicates", "repeated responses"), ("no_signal", "prompts of one score")):
        if about.get(rule) == "drop":
            yield (
                f"{file}: its {what} were dropped, so the rest is not a sample of the policy; make it with "
                f"--{rule.replace('_', '-')} keep"
            )


def _read(
    file: Path, batches: Any, has_field: bool, has_log_probs: bool, told: Callable[[int], None]
) -> tuple[Samples | None, list[str]]:
    problems: dict[str, Problem] = {}
    rows: list[str] = []
    findings, number = Findings(), 0
    for batch in batches:
        told(batch.num_rows)
        for row in batch.to_pylist():
            place, scores = f"row {number}", row["scores"]
            number += 1
            if not scores or len(scores) != len(row["responses"]) or not all(map(math.isfinite, scores)):
                findings.add(
                    file, place, Mistake("scores", "they are not a finite number for each response", "correct them")
                )
                continue
            source = row.get("data_source") or ALL
            asked = row["prompt"] if isinstance(row["prompt"], str) else json.dumps(row["prompt"])
            key = key_of(asked, gold(row), source)
            rows.append(key)
            _add(problems.setdefault(key, Problem(f"{file}, {place}", source)), row, has_field, has_log_probs)
    if sentences := findings.sentences():
        return None, sentences
    if not problems:
        return None, [f"{file}: it has no rows; make it again"]
    return Samples(problems, voted(problems, has_field), has_log_probs, rows=rows), []


def _add(problem: Problem, row: dict[str, Any], has_field: bool, has_log_probs: bool) -> None:
    preds = row["preds"] if has_field else [None] * len(row["responses"])
    for text, score, pred in zip(row["responses"], row["scores"], preds, strict=True):
        problem.add(score, pred or boxed(text))
    if has_log_probs:
        problem.log_prob += sum(map(math.fsum, row["log_probs"]))
        problem.tokens += sum(map(len, row["log_probs"]))
