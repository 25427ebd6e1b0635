"""Problems that reasoning-gym makes on the spot, in a train and a held-out part."""

import difflib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from frpo_verl.data import dedup
from frpo_verl.data.catalogue import GYM, Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem
from frpo_verl.data.source import Row, Source
from frpo_verl.rewards.box import LONGEST_OF_A_TASK


class Draw(NamedTuple):
    """What reasoning-gym is asked for.

    Attributes:
        size: how many problems are drawn; fewer are kept, as none is kept twice.
        seed: of reasoning-gym, for which draws of neighbouring seeds are nearly the same ones, shifted.
        held_out: share of the different problems that go to the test part, between 0 and 1. Which ones does not depend
            on size and seed.
    """

    size: int = 10_000
    seed: int = 0
    held_out: float = 0.1


def parts(name: str) -> tuple[Part, Part]:
    """The two parquet files of a task.

    Args:
        name: `reasoning_gym:<task>`.

    Returns:
        The test part and the train part.
    """
    task = name.removeprefix(GYM)
    return tuple(
        Part(f"reasoning_gym_{task}_{split}", split, f"reasoning_gym/{task}", (), reason=too_long)
        for split in ("test", "train")
    )


def too_long(problem: Problem) -> str | None:
    """Why an entry is left out.

    Args:
        problem: to be judged.

    Returns:
        What it is counted under, or None if it stays.
    """
    longer = len(problem.answer) > LONGEST_OF_A_TASK
    return f"answer longer than {LONGEST_OF_A_TASK:,} characters" if longer else None


def find(task: str, split: str, draw: Draw) -> Source:
    """Sets up a task.

    Args:
        task: reasoning-gym's name.
        split: `train` or `test`.
        draw: what to ask for.

    Returns:
        The source of one part.

    Raises:
        DataError: there is no such task, or it cannot be drawn from as asked.
    """
    if draw.size < 1 or not 0 < draw.held_out < 1:
        raise DataError(
            f"--size {draw.size} --held-out {draw.held_out:g}: the size must be 1 or more and the held-out share "
            "between 0 and 1, for instance --size 10000 --held-out 0.1"
        )
    if importlib.util.find_spec("reasoning_gym") is None:
        raise DataError(f"{GYM}{task}: reasoning-gym is not installed; pip install reasoning-gym==0.1.25")
    from frpo_verl.rewards import gym

    package = gym.load()
    tasks = package.factory.DATASETS
    if task not in tasks:
        near = difflib.get_close_matches(task, tasks, 1, 0.5)
        hint = f"did you mean {GYM}{near[0]}?" if near else f"it has {', '.join(sorted(tasks))}"
        raise DataError(f"{GYM}{task}: reasoning-gym has no such task; {hint}")
    try:
        problems = package.create_dataset(task, size=draw.size, seed=draw.seed)
        problems[0]
    # Each task checks its own settings in its own way.
    except Exception as error:
        raise DataError(f"{GYM}{task}: reasoning-gym cannot draw from it as it is ({error}); choose another") from None
    identity = {"task": task, **draw._asdict(), "reasoning_gym": importlib.metadata.version("reasoning-gym")}
    return Source(identity, partial(_rows, problems, draw, split), draw.size, 0, f"reasoning-gym's {task}")


def _rows(problems: Any, draw: Draw, split: str, start: int) -> Iterator[Row]:
    for index in range(start, draw.size):
        entry = problems[index]
        yield entry if _split(entry["question"], draw) == split else {}


def _split(question: str, draw: Draw) -> str:
    # By the text alone: a task of few problems has each of them many times, and the problems of one seed come again
    # with the next one (reasoning-gym adds the index to the seed).
    return "test" if dedup.key(question) < draw.held_out * 2**64 else "train"


def read(row: Row, task: str, index: int, where: str) -> Problem | None:
    """Reads an entry so that reasoning-gym's verifier can score it from the parquet file.

    Args:
        row: the entry, or nothing where it belongs to the other part.
        task: its task.
        index: its number.
        where: the row, for messages.

    Returns:
        The problem, or None if it belongs to the other part.

    Raises:
        DataError: the verifier would not know the entry again.
    """
    if not row:
        return None
    from frpo_verl.rewards import gym

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
            f"{where}: its verifier needs Python objects that a parquet file cannot hold, so no answer could be "
            "scored; choose another task"
        )
    return Problem(row["question"], "" if row["answer"] is None else str(row["answer"]), str(index), task, entry)
