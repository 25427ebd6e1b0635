"""Reads graded responses that somebody has: parquet or JSON lines, a row for each prompt or for each response."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frpo_verl.findings import Findings, Mistake
from frpo_verl.offline import prompts
from frpo_verl.offline.groups import Group, Response
from frpo_verl.trainers.graded import said_of

SINGLE = {"response": "responses", "score": "scores"}
"""Column of a file with a row for each response -> the column of one with a row for each prompt."""

OF_RESPONSES = ("response_ids", "log_probs")

Row = dict[str, Any]


class Found(NamedTuple):
    """Holds what was read: groups, the table that their rows are of, and what ids are of; or problems."""

    groups: list[Group]
    prompts: Any
    about: dict[str, Any]
    problems: list[str]


def read(files: Sequence[Path]) -> Found:
    """Reads files, and puts the responses to the same prompt together.

    Args:
        files: parquet, or .jsonl.

    Returns:
        All groups, or a sentence for everything that is wrong.
    """
    problems, findings, rows = [], Findings(), []
    for file in files:
        try:
            rows += list(_rows(file, findings))
        except _Unfit as error:
            problems.append(f"--responses {file}: {error}")
    problems += [f"--responses {sentence}" for sentence in findings.sentences()]
    about, of_ids = ({}, []) if problems else _ids(files, rows)
    if problems or of_ids:
        return Found([], None, {}, [*problems, *of_ids])
    return _grouped(rows, about)


class _Unfit(Exception):
    """A file of which no row can be read."""


def _rows(file: Path, findings: Findings) -> Iterator[Row]:
    """Yields the rows of a file that are as they should be, all of them in the form of a row for each prompt."""
    if not file.is_file():
        raise _Unfit("there is no such file; correct the path")
    count = 0
    for place, raw in _jsonl(file, findings) if file.suffix in (".jsonl", ".json") else _parquet(file):
        count += 1
        row = _of_prompt(raw)
        mistakes = list(_mistakes(row, single="responses" not in raw and "response" in raw))
        for mistake in mistakes:
            findings.add(file, place, mistake)
        if not mistakes:
            yield row
    if not count and not findings.sentences():
        raise _Unfit("it has no rows; give a file with responses")


def _jsonl(file: Path, findings: Findings) -> Iterator[tuple[str, Row]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                at = getattr(error, "colno", 1)
                findings.add(file, f"line {number}", Mistake(str(at), "it is not JSON", "write an object in each line"))
                continue
            if isinstance(row, dict):
                yield f"line {number}", row
            else:
                findings.add(file, f"line {number}", Mistake("1", "it is no JSON object", "write one in each line"))


def _parquet(file: Path) -> Iterator[tuple[str, Row]]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(file) as opened:
            names = set(opened.schema_arrow.names)
            missing = {"prompt"} - names
            if not names >= set(SINGLE.values()) and not names >= set(SINGLE):
                missing |= set(SINGLE.values()) - names
            if missing:
                raise _Unfit(
                    f"it has no column {', '.join(sorted(missing))}, only {', '.join(opened.schema_arrow.names)}; give "
                    "prompt, responses and scores, or prompt, response and score in a row for each response"
                )
            read = [*prompts.CARRIED, "prompt", "prompt_ids", *OF_RESPONSES, *SINGLE, *SINGLE.values()]
            batches = opened.iter_batches(1024, columns=[name for name in read if name in names])
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from ((f"row {number}", row) for number, row in enumerate(rows))
    except (ArrowException, OSError) as error:
        raise _Unfit(f"not a valid parquet file ({' '.join(str(error).split())}); make it again") from None


def _of_prompt(raw: Row) -> Row:
    """Turns a row with one response into a row for its prompt."""
    row = {name: raw[name] for name in ("prompt", "prompt_ids", *prompts.CARRIED) if raw.get(name) is not None}
    single = "responses" not in raw and "response" in raw
    for one, many in (*SINGLE.items(), *((name, name) for name in OF_RESPONSES)):
        value = raw.get(one if single else many)
        if value is not None:
            row[many] = [value] if single else value
    return row


def _mistakes(row: Row, single: bool) -> Iterator[Mistake]:
    """Yields what is wrong with a row; `single`: it was one of a single response."""
    named = {many: one for one, many in SINGLE.items()} if single else {}
    yield from prompts.unfit_prompt(row.get("prompt"))
    missing = [name for name in SINGLE.values() if not row.get(name)]
    for name in missing:
        yield Mistake(named.get(name, name), "nothing stands there", "give it, or leave that row out")
    if missing:
        return
    responses, scores = row["responses"], row["scores"]
    for name, values, fits, meant in (
        ("responses", responses, lambda each: isinstance(each, str), "a text"),
        ("scores", scores, _is_finite, "a finite number"),
    ):
        if not isinstance(values, list) or not all(map(fits, values)):
            wrong = values if not isinstance(values, list) else next(each for each in values if not fits(each))
            yield Mistake(named.get(name, name), f"{wrong!r} is not {meant}"[:120], f"give {meant} for each response")
            return
    if len(responses) != len(scores):
        what = f"{len(scores)} scores for {len(responses)} responses"
        yield Mistake("scores", what, "give one score to each response")
    yield from _of_ids(row)


def _of_ids(row: Row) -> Iterator[Mistake]:
    if "response_ids" not in row:
        if len(row.get("log_probs", row["responses"])) != len(row["responses"]):
            yield Mistake("log_probs", "they are not a list for each response", "correct or remove them")
        return
    if not _are_ids(row.get("prompt_ids")):
        yield Mistake("prompt_ids", "response_ids stand next to none", "give both, or neither")
    ids = row["response_ids"]
    if not isinstance(ids, list) or len(ids) != len(row["responses"]) or not all(map(_are_ids, ids)):
        yield Mistake("response_ids", "they are not a list of token ids for each response", "correct or remove them")
    elif "log_probs" in row and [len(each) for each in row["log_probs"]] != [len(each) for each in ids]:
        yield Mistake("log_probs", "they are not a number for each token", "correct or remove them")


def _are_ids(ids: Any) -> bool:
    return isinstance(ids, list) and bool(ids) and all(isinstance(each, int) and each >= 0 for each in ids)


def _is_finite(score: Any) -> bool:
    return isinstance(score, int | float) and math.isfinite(score)


def _ids(files: Sequence[Path], rows: Sequence[Row]) -> tuple[dict[str, Any], list[str]]:
    """Returns what the files say of the model whose ids they hold, or where they do not agree."""
    for name in OF_RESPONSES:
        if 0 < (having := sum(name in row for row in rows)) < len(rows):
            return {}, [
                f"--responses: {having} of {len(rows)} rows have {name} and the others none; make two files of them, "
                "or leave that column out"
            ]
    if not any("response_ids" in row for row in rows):
        return {}, []
    said = [said_of(file) or {} for file in files]
    if len({about.get("tokenizer") for about in said}) > 1:
        return {}, ["--responses: the files hold token ids of different vocabularies; make a file of each"]
    return {name: said[0][name] for name in ("model", "tokenizer", "eos_token_id") if name in said[0]}, []


def _grouped(rows: Sequence[Row], about: dict[str, Any]) -> Found:
    import pyarrow as pa

    of, first, responses = {}, [], []
    for row in rows:
        number = of.setdefault(prompts.identity(row), len(of))
        if number == len(first):
            first.append(row)
            responses.append([])
        responses[number] += _responses(row)
    names = ["prompt", *(name for name in prompts.CARRIED if any(name in row for row in first))]
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in first])
        except pa.ArrowException as error:
            reason = " ".join(str(error).split())
            return Found([], None, {}, [f"--responses: column {name} is not of one type in all rows ({reason})"])
    groups = [Group(number, each, first[number].get("prompt_ids")) for number, each in enumerate(responses)]
    return Found(groups, pa.table(columns), about, [])


def _responses(row: Row) -> Iterator[Response]:
    count = len(row["responses"])
    ids = [np.asarray(each, np.int32) for each in row["response_ids"]] if "response_ids" in row else [None] * count
    log_probs = [np.asarray(each, np.float32) for each in row["log_probs"]] if "log_probs" in row else [None] * count
    for text, score, each, said in zip(row["responses"], row["scores"], ids, log_probs, strict=True):
        yield Response(text, float(score), each, said)
