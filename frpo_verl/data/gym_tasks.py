"""Draws problems from reasoning-gym's tasks and splits them into a train and a held-out part."""

import difflib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from frpo_verl.data import dedup
from frpo_verl.data.catalogue import GYM, Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem, Source
from frpo_verl.rewards import gym
from frpo_verl.rewards.box import LONGEST_OF_A_TASK


class Draw(NamedTuple):
    """Describes how problems are drawn from a task.

    Attributes:
        size: how many are drawn; fewer are kept, since none is kept twice.
        seed: reasoning-gym's; neighbouring seeds draw nearly the same problems, shifted by one.
        held_out: share of the different problems that go to the test part, between 0 and 1. Which ones depends on
            neither size nor seed.
    """

    size: int = 10_000
    seed: int = 0
    held_out: float = 0.1


def parts(name: str) -> tuple[Part, Part]:
    """Returns the test part and the train part of `reasoning_gym:<task>`."""
    task = name.removeprefix(GYM)
    return tuple(
        Part(f"reasoning_gym_{task}_{split}", split, f"reasoning_gym/{task}", (), reason=unfit)
        for split in ("test", "train")
    )


def unfit(problem: Problem) -> str | None:
    """Returns the reason to leave out a problem that the reward cannot score, else None."""
    if len(problem.answer) > LONGEST_OF_A_TASK:
        return f"answer longer than {LONGEST_OF_A_TASK:,} characters"
    return "right answer empty" if gym.is_empty(json.loads(problem.entry or "{}").get("answer")) else None


def find(part: Part, draw: Draw) -> Source:
    """Sets up the task of a part; a DataError says that there is no such task, or that it cannot be drawn from."""
    task = part.data_source.partition("/")[2]
    if draw.size < 1 or not 0 < draw.held_out < 1:
        raise DataError(
            f"--size {draw.size} --held-out {draw.held_out:g}: the size must be 1 or more and the held-out share "
            "between 0 and 1, for instance --size 10000 --held-out 0.1"
        )
    if importlib.util.find_spec("reasoning_gym") is None:
        raise DataError(f"{GYM}{task}: reasoning-gym is not installed; pip install reasoning-gym==0.1.25")
    if why := gym.UNFIT.get(task):
        raise DataError(f"{GYM}{task}: its verifier pays for nonsense, since {why}; choose another task")
    entries = _entries(task, draw)
    identity = {"task": task, **draw._asdict(), "reasoning_gym": importlib.metadata.version("reasoning-gym")}
    place = f"reasoning-gym's {task}"
    return Source(place, identity, partial(_problems, entries, part.split, task, draw, place))


def _entries(task: str, draw: Draw) -> Any:
    package = gym.load()
    tasks = package.factory.DATASETS
    if task not in tasks:
        near = difflib.get_close_matches(task, tasks, 1, 0.5)
        hint = f"did you mean {GYM}{near[0]}?" if near else f"it has {', '.join(sorted(tasks))}"
        raise DataError(f"{GYM}{task}: reasoning-gym has no such task; {hint}")
    try:
        entries = package.create_dataset(task, size=draw.size, seed=draw.seed)
        entries[0]
    # Each task checks its own settings in its own way.
    except Exception as error:
        raise DataError(f"{GYM}{task}: reasoning-gym cannot draw from it as it is ({error}); choose another") from None
    return entries


def _problems(entries: Any, split: str, task: str, draw: Draw, place: str) -> Iterator[Problem | None]:
    for index in range(draw.size):
        entry = entries[index]
        yield _read(entry, task, index, place) if _split(entry["question"], draw) == split else None


def _split(question: str, draw: Draw) -> str:
    # By the text alone: a task of few problems has each of them many times, and the problems of one seed come again
    # with the next one (reasoning-gym adds the index to the seed).
    return "test" if dedup.key(question) < draw.held_out * 2**64 else "train"


def _read(row: Mapping[str, Any], task: str, index: int, place: str) -> Problem:
    """Reads an entry so that reasoning-gym's verifier can score it from the parquet file."""
    score = gym.load().get_score_answer_fn(task)
    kept = {name: row[name] for name in ("question", "answer", "metadata")}
    try:
        # Fractions and the like, as text: few verifiers look at them.
        entry = json.dumps(kept, default=str)
        same = score(row["answer"], json.loads(entry)) == score(row["answer"], row)
    except TypeError:
        same = False
    if not same:
        raise DataError(
            f"{place}, row {index + 1}: its verifier needs Python objects that a parquet file cannot hold, so no "
            "answer could be scored; choose another task"
        )
    return Problem(row["question"], "" if row["answer"] is None else str(row["answer"]), str(index), task, entry)
