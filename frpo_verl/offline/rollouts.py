"""Reads verl's dumps of rollouts (`trainer.rollout_data_dir`), and finds the prompt of each again.

verl dumps texts without special tokens, so that neither the chat template nor the end of a response is there. A prompt
is found by doing to every prompt of the training file what verl did: template, tokens, text.
"""

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.evaluation import dumps
from frpo_verl.offline.groups import Group, Response
from frpo_verl.offline.prompts import Prompts, gold


class Found(NamedTuple):
    """Holds what was read: groups, remarks on lines that were left out, and problems."""

    groups: list[Group]
    remarks: list[str]
    problems: list[str]


class Reading(NamedTuple):
    """Holds the lines of all steps, remarks on steps that were left out, and problems."""

    lines: list[dict[str, Any]]
    remarks: list[str]
    problems: list[str]


def read(folder: Path, steps: tuple[float, float]) -> Reading:
    """Reads STEP.jsonl of the steps from one to another, in their order; one that is being written is left out."""
    every = dumps.files(folder)
    files = {step: file for step, file in every.items() if steps[0] <= step <= steps[1]}
    if not files:
        why = "it holds no STEP.jsonl" if folder.is_dir() else "there is no such folder"
        why = f"none of its {len(every)} steps is within --steps" if every else why
        return Reading([], [], [f"--rollouts {folder}: {why}; give what trainer.rollout_data_dir named"])
    found = Reading([], [], [])
    for step, file in files.items():
        if sentence := dumps.cut(file):
            found.remarks.append(sentence)
            continue
        try:
            found.lines.extend(_line(file, number, row, step) for number, row in dumps.samples(file, step))
        except dumps.UnfitDump as unfit:
            found.problems.extend(f"--rollouts {sentence}" for sentence in unfit.sentences)
    if not found.lines and not found.problems:
        found.problems.append(f"--rollouts {folder}: its files hold no whole step; wait for the end of one")
    return found


def match(lines: Sequence[dict[str, Any]], prompts: Prompts, encoded: Sequence[list[int]], tokenizer: Any) -> Found:
    """Finds the prompt of each line.

    Args:
        lines: of `read`.
        prompts: those that verl trained on.
        encoded: the token ids of each.
        tokenizer: verl's.

    Returns:
        Groups of the responses to each prompt, all steps together.
    """
    rows, by_text = prompts.rows(), collections.defaultdict(list)
    for number, ids in enumerate(encoded):
        by_text[tokenizer.decode(ids, skip_special_tokens=True)].append(number)
    responses: dict[int, list[Response]] = {}
    missing, ambiguous = [], []
    for line in lines:
        candidates = by_text.get(line["input"], [])
        fitting = [number for number in candidates if len(candidates) == 1 or gold(rows[number]) == line.get("gts")]
        if len(fitting) == 1:
            said = Response(line["output"], float(line["score"]), step=line["step"])
            responses.setdefault(fitting[0], []).append(said)
        else:
            (ambiguous if candidates else missing).append(line)
    groups = [Group(number, responses[number], encoded[number]) for number in sorted(responses)]
    remarks = [*_left_out(missing, "no prompt of the file"), *_left_out(ambiguous, "more than one prompt of the file")]
    problems = [] if groups else [f"--rollouts: {remark}" for remark in remarks]
    return Found(groups, remarks, problems)


def tokenized(groups: Sequence[Group], tokenizer: Any, most: int | None) -> Iterator[Group]:
    """Tokenizes responses again, with an end-of-sequence token where they are shorter than `most` tokens."""
    for group in groups:
        responses = []
        for response in group.responses:
            ids = tokenizer(response.text, add_special_tokens=False)["input_ids"]
            was_cut = most is not None and len(ids) >= most
            responses.append(response._replace(ids=ids if was_cut else [*ids, tokenizer.eos_token_id]))
        yield group._replace(responses=responses)


def _line(file: Path, number: int, row: dict[str, Any], step: int) -> dict[str, Any]:
    kept = {name: row.get(name) for name in ("input", "output", "score", "gts")}
    return kept | {"step": step, "place": f"{file}, line {number}"}


def _left_out(lines: Sequence[dict[str, Any]], what: str) -> Iterator[str]:
    if lines:
        yield (
            f"{len(lines)} lines are left out, whose input is that of {what} (first: {lines[0]['place']}); give the "
            "file, the model and the --template that they were sampled with"
        )
