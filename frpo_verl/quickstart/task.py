"""Writes the quickstart's task, reasoning-gym's `chain_sum` with two one-digit terms, as parquet files for verl."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.rewards import gym
from frpo_verl.rewards.box import INSTRUCTION

DATASET = "chain_sum"
HELD_OUT = 40

# There are 200 problems (two digits, plus or minus); one is missing from 4,000 draws with probability 4e-7.
_DRAWS = 4_000
_DRAW_SEED = 0
_SPLIT_SEED = 0


class Style(NamedTuple):
    """Asks and answers a problem."""

    data_source: str  # by which verl names the reward and the validation metrics
    system_message: str  # before the question
    answer: str  # the wanted completion, with `{}` for the number


NUMBER = Style(f"reasoning_gym/{DATASET}", "Reply with only the number.", "{}")
"""The quickstart's."""

BOXED = Style("one_digit_sums", INSTRUCTION, r"\boxed{{{}}}")
"""The style of the recipes for mathematics: the paper's words, and the answer where the paper's reward looks for it.
The words come before the question, where all prompts of the tiny model begin alike."""


class Problem(NamedTuple):
    """One sum in reasoning-gym's words."""

    question: str
    answer: str


class Split(NamedTuple):
    """All distinct problems, in two parts without a common question."""

    train: tuple[Problem, ...]
    held_out: tuple[Problem, ...]


def split() -> Split:
    """Divides the distinct problems into train and held-out ones, the same way on every machine."""
    draws = gym.load().create_dataset(
        DATASET, min_terms=2, max_terms=2, min_digits=1, max_digits=1, seed=_DRAW_SEED, size=_DRAWS
    )
    problems = sorted({Problem(draw["question"], draw["answer"]) for draw in draws})
    random.Random(_SPLIT_SEED).shuffle(problems)
    return Split(train=tuple(problems[HELD_OUT:]), held_out=tuple(problems[:HELD_OUT]))


def messages(problem: Problem, style: Style = NUMBER) -> list[dict[str, str]]:
    """Returns the chat that asks for the answer to the problem."""
    return [{"role": "system", "content": style.system_message}, {"role": "user", "content": problem.question}]


def write(destination: Path, *, style: Style = NUMBER, train_rows: int = 1024, seed: int = 11) -> tuple[Path, Path]:
    """Writes `one_digit_sums_{train,held_out}.parquet` in verl's RLHF schema, replacing older ones; returns the paths.

    The train file goes through all train problems before it repeats one, each time in a new order by the seed; the
    held-out file has each of its problems once.
    """
    import pyarrow
    import pyarrow.parquet

    problems = split()
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    files = {"train": _rounds(problems.train, train_rows, random.Random(seed)), "held_out": problems.held_out}
    paths = []
    for part, chosen in files.items():
        paths.append(destination / f"one_digit_sums_{part}.parquet")
        rows = [_row(problem, style, part, index) for index, problem in enumerate(chosen)]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), paths[-1])
    return paths[0], paths[1]


def _rounds(problems: Sequence[Problem], rows: int, order: random.Random) -> list[Problem]:
    chosen: list[Problem] = []
    while len(chosen) < rows:
        chosen += order.sample(problems, len(problems))
    return chosen[:rows]


def _row(problem: Problem, style: Style, part: str, index: int) -> dict[str, Any]:
    return {
        "data_source": style.data_source,
        "prompt": messages(problem, style),
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {"index": index, "split": part, "question": problem.question, "answer": problem.answer},
    }
