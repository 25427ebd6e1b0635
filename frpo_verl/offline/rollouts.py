"""Reads verl's dumps of rollouts (`trainer.rollout_data_dir`), and finds the prompt of each again.

verl dumps texts without special tokens, so that neither the chat template nor the end of a response is there. A prompt
is found by doing to every prompt of the training file what verl did: template, tokens, text.
"""

import collections
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.findings import Findings, Mistake
from frpo_verl.offline.groups import Group, Response
from frpo_verl.offline.prompts import Prompts, gold

DUMPED = {"input": str, "output": str, "score": int | float}
"""Fields that a line must have."""


class Found(NamedTuple):
    """Holds what was read: groups, remarks on lines that were left out, and problems."""

    groups: list[Group]
    remarks: list[str]
    problems: list[str]


def read(folder: Path, steps: tuple[float, float]) -> tuple[list[dict[str, Any]], list[str]]:
    """Reads STEP.jsonl of the steps from one to another, in their order; returns lines, or what is wrong with them."""
    every = [file for file in folder.glob("*.jsonl") if file.stem.isdecimal()]
    files = [file for file in every if steps[0] <= int(file.stem) <= steps[1]]
    if not files:
        why = "it holds no STEP.jsonl" if folder.is_dir() else "there is no such folder"
        why = f"none of its {len(every)} steps is within --steps" if every else why
        return [], [f"--rollouts {folder}: {why}; give what trainer.rollout_data_dir named"]
    findings, lines = Findings(), []
    for file in sorted(files, key=lambda file: int(file.stem)):
        lines += _lines(file, findings)
    problems = [f"--rollouts {sentence}" for sentence in findings.sentences()]
    if not lines and not problems:
        problems = [f"--rollouts {folder}: its files hold no line; wait for the end of a step"]
    return lines, problems


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


def _lines(file: Path, findings: Findings) -> Iterator[dict[str, Any]]:
    with file.open("rb") as opened:
        for number, text in enumerate(opened, start=1):
            if not text.endswith(b"\n"):
                return  # verl is still writing it
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            mistakes = list(_mistakes(line))
            for mistake in mistakes:
                findings.add(file, f"line {number}", mistake)
            if not mistakes:
                yield {"input": line["input"], "output": line["output"], "score": line["score"]} | {
                    "gts": line.get("gts"),
                    "step": int(file.stem),
                    "place": f"{file}, line {number}",
                }


def _mistakes(line: Any) -> Iterator[Mistake]:
    if not isinstance(line, dict):
        yield Mistake("1", "it is no JSON object", "remove that line, or give a dump of verl's")
        return
    for name, kind in DUMPED.items():
        value = line.get(name)
        if not isinstance(value, kind) or (name == "score" and not math.isfinite(value)):
            yield Mistake(name, f"{value!r}"[:60], "remove that line, or give a dump of verl's")


def _left_out(lines: Sequence[dict[str, Any]], what: str) -> Iterator[str]:
    if lines:
        yield (
            f"{len(lines)} lines are left out, whose input is that of {what} (first: {lines[0]['place']}); give the "
            "file, the model and the --template that they were sampled with"
        )
