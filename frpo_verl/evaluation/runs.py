"""Reads a run: what verl logged of it, its validation's samples, the command that it recorded."""

from pathlib import Path
from typing import NamedTuple

from frpo_verl.evaluation import dumps
from frpo_verl.evaluation.command_line import UNRECORDED, Command, parse_command
from frpo_verl.evaluation.metrics import Log, RunLogError, places
from frpo_verl.evaluation.sources import read_log
from frpo_verl.evaluation.tokens import Response, read_tokens

Dumps = dict[int, dict[str, list[float]]]
"""The scores by the problem's key, by validated step."""


class Run(NamedTuple):
    """A run; `notes` has a sentence for whatever of it was left out."""

    path: Path
    log: Log
    dumps: Dumps
    command: Command
    notes: list[str]
    tokens: list[Response]


def read_run(path: Path, score_key: str = "score") -> Run:
    """Reads a run.

    Args:
        path: the run's folder, with a log of any of verl's loggers and, where there are, validation/STEP.jsonl,
            command.txt and FOLDER/tokens/STEP.jsonl; or such a log.
        score_key: the field of the validation dumps to read as the score.

    Returns:
        The run.

    Raises:
        RunLogError: nothing of verl's log can be read.
    """
    log = read_log(path)
    notes = list(log.notes)
    scores = _dumps(path / "validation", score_key, notes)
    if late := [step for step in scores if step > log.steps[-1].step + 1]:
        notes.append(f"{path / 'validation'}: it has {places(late, 'step')}, and the log ends at {log.steps[-1].step}")
    command = UNRECORDED
    if (recorded := path / "command.txt").is_file():
        try:
            command = parse_command(recorded.read_text(encoding="utf-8", errors="replace"))
        except RunLogError as error:
            notes.append(f"{recorded}: {error}")
    return Run(path, log, scores, command, notes, read_tokens(path, notes))


def _dumps(folder: Path, score_key: str, notes: list[str]) -> Dumps:
    scores = {}
    for step, file in dumps.files(folder).items():
        if sentence := dumps.cut(file):
            notes.append(sentence)
            continue
        try:
            scores[step] = dumps.scores(file, step, score_key)
        except dumps.UnfitDump as unfit:
            notes += [f"{sentence}; the step is left out" for sentence in unfit.sentences]
    return scores
