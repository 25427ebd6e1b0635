"""Reads sources to the end: answers are compared, a reference is measured, and what was read once is kept."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.eval import dumps, graded
from frpo_verl.eval.problem import Problem, Samples
from frpo_verl.eval.sources import DUMPS, Source
from frpo_verl.trainers.graded import said_of


class Unit(NamedTuple):
    """Names one file to read: of which source, and of which step where it is a dump."""

    source: Source
    step: int | None
    file: Path


class Found(NamedTuple):
    """Holds the samples of a file, or problems; and remarks about quantities that it has not got."""

    samples: Samples | None
    problems: list[str]
    remarks: list[str]


class Kept:
    """Keeps what was read in a folder, if there is one, so that a command that was stopped need not read it again.

    Args:
        folder: made when it is needed; None: nothing is kept.
        settings: what the content depends on, next to the file itself.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self._folder, self._settings = folder, settings

    def read(self, file: Path) -> Samples | None:
        """Returns what was kept of a file, if it has not changed since."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            state = json.loads(self._path(file).read_text())
            problems = {key: Problem.of_state(each) for key, each in state.pop("problems").items()}
            return Samples(problems=problems, **state)
        return None

    def write(self, file: Path, samples: Samples) -> None:
        """Keeps what a file says, if it can: else the file is read again."""
        if self._folder is None:
            return
        problems = {key: each.state() for key, each in samples.problems.items()}
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = self._path(file).with_suffix(".writing")
            partial.write_text(json.dumps(samples._asdict() | {"problems": problems}))
            partial.replace(self._path(file))

    def remove(self) -> None:
        """Removes the folder."""
        for file in self._folder.glob("*") if self._folder and self._folder.is_dir() else ():
            file.unlink()
        if self._folder and self._folder.is_dir():
            self._folder.rmdir()

    def _path(self, file: Path) -> Path:
        if self._folder is None:
            raise FileNotFoundError
        found = os.stat(file)
        of = [str(file.resolve()), found.st_size, found.st_mtime_ns, self._settings]
        return self._folder / f"{hashlib.sha256(json.dumps(of).encode()).hexdigest()[:24]}.json"


def read(unit: Unit, score_key: str, reference: str | None, kept: Kept) -> Found:
    """Reads a file, or what was kept of it.

    Args:
        unit: which file.
        score_key: of dumps: the field to read as the score.
        reference: the model of the reference, if there is one.
        kept: what was read earlier.

    Returns:
        What was found.
    """
    problems: list[str] = []
    samples = kept.read(unit.file)
    if samples is None:
        samples, problems = _samples(unit, score_key)
        if samples is not None and samples.voted == "box":
            samples = _compared(unit, samples)
        if samples is not None:
            kept.write(unit.file, samples)
    if samples is None:
        return Found(None, problems, [])
    remarks = list(_missing(unit, samples))
    if reference and unit.source.kind == DUMPS:
        problems = [
            f"{unit.source.word}: no divergence, since verl's dumps have no tokens; evaluate the checkpoint instead"
        ]
    elif reference:
        problems = _measure(unit, samples, reference)
        samples = samples._replace(has_reference=not problems)
    return Found(samples, problems, remarks)


def _samples(unit: Unit, score_key: str) -> tuple[Samples | None, list[str]]:
    if unit.step is not None:
        with bar(f"reading {unit.file.name}", unit.file.stat().st_size, "B") as reading:
            return dumps.read(unit.file, unit.step, score_key, reading.update)
    with bar(f"reading {unit.file.name}", None, " prompts") as reading:
        return graded.read(unit.file, reading.update)


def _compared(unit: Unit, samples: Samples) -> Samples:
    """Makes one answer of those that the reward of mathematics takes for one."""
    try:
        from frpo_verl.rewards.math import is_same
    except ImportError:
        return samples._replace(voted="text")
    with bar(f"answers of {unit.file.name}", len(samples.problems), " problems") as comparing:
        for problem in samples.problems.values():
            problem.merge(is_same)
            comparing.update()
    return samples


def _missing(unit: Unit, samples: Samples) -> Iterator[str]:
    if samples.voted is None:
        yield f"{unit.source.word}: no maj@k, since there is no field {dumps.PRED} and no response with \\boxed{{}}"
    if samples.voted == "text":
        yield (
            f"{unit.source.word}: math-verify is not installed, so that maj@k takes \\frac{{1}}{{2}} and 0.5 for two "
            "answers; pip install 'frpo-verl[math]'"
        )
    if unit.step is None and not samples.has_log_probs:
        yield f"{unit.source.word}: no entropy, since it has no log-probs of samples at --temperature 1 and --top-p 1"


def _measure(unit: Unit, samples: Samples, reference: str) -> list[str]:
    """Adds the log-ratio of policy and reference to the problems, or says why there is none."""
    from frpo_verl.eval import divergence

    about = said_of(unit.file) or {}
    if problems := list(divergence.unfit(unit.source.word, about, samples.has_log_probs, reference)):
        return problems
    sums = []
    for name, model in (("policy", about["model"]), ("reference", reference)):
        with bar(f"log-probs of the {name}", len(samples.rows), " prompts") as measuring:
            kept = unit.file.with_name(f"{unit.file.name}.{name}.jsonl")
            sums.append(divergence.measure(unit.file, model, kept, measuring.update))
    for key, of_policy, of_reference in zip(samples.rows, *sums, strict=True):
        samples.problems[key].log_ratio += of_policy - of_reference
    return []


def bar(name: str, total: int | None, unit: str) -> Any:
    """Returns a progress bar that shows after two seconds."""
    from tqdm import tqdm

    # a log gets a line now and then
    often = 0.1 if sys.stderr.isatty() else 30
    scale = {"unit_scale": True, "unit_divisor": 1024} if unit == "B" else {}
    return tqdm(desc=name, total=total, unit=unit, mininterval=often, maxinterval=often, delay=2, leave=False, **scale)
