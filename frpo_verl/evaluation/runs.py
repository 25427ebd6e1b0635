"""Reads a run: what verl logged of it, its validation's samples, the command that it recorded."""

from pathlib import Path
from typing import NamedTuple

from frpo_verl.evaluation.command_line import UNRECORDED, Command, parse_command
from frpo_verl.evaluation.metrics import Log
from frpo_verl.evaluation.run_log import RunLogError, finished_dumps, read_dump
from frpo_verl.evaluation.sources import read_log
from frpo_verl.evaluation.tokens import Response, read_tokens

Dumps = dict[int, dict[str, list[float]]]
"""The scores by problem, by validated step."""


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
    dumps = _dumps(path / "validation", score_key, notes)
    command = UNRECORDED
    if (recorded := path / "command.txt").is_file():
        try:
            command = parse_command(recorded.read_text(encoding="utf-8"))
        except (RunLogError, UnicodeDecodeError) as error:
            notes.append(f"{recorded}: {error}")
    return Run(path, log, dumps, command, notes, read_tokens(path, notes))


def _dumps(folder: Path, score_key: str, notes: list[str]) -> Dumps:
    finished, dumps = finished_dumps(folder), {}
    known = set(finished.values())
    notes += [f"{path} is not finished; left out" for path in sorted(folder.glob("*.jsonl")) if path not in known]
    for step, path in finished.items():
        try:
            dumps[step] = read_dump(path, score_key)
        except RunLogError as error:
            notes.append(f"{str(error).removesuffix('.')}; the step is left out")
    return dumps
