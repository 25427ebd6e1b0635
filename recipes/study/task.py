"""The study's task: to get from one number to another in a few steps, one of which is given.

`7 > 31 with *3 =` asks for two to seven steps from 7 to 31 that stay between 1 and 40, each with what it leads to, and
one of which is `*3`: `*3 21 +5 26 +5 31` is right, and so are thousands of others. verl loads this file by its path, as
the reward function.
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LOWEST, HIGHEST = 1, 40
STEPS = [f"{sign}{number}" for sign in "+-" for number in range(1, 6)] + ["*2", "*3"]
FEWEST, MOST = 2, 7
TRAIN, HELD_OUT = 2048, {"validation": 48, "test": 96}
SOURCE = "steps_between_numbers"
_SPLIT_SEED = 0


class Problem(NamedTuple):
    """Holds where to start, where to end, and a step that has to be taken."""

    start: int
    end: int
    step: str

    @property
    def text(self) -> str:
        """Returns what the model reads."""
        return f"{self.start} > {self.end} with {self.step} ="


def after(number: int, step: str) -> int:
    """Computes what a step leads to."""
    by = int(step[1:])
    return {"+": number + by, "-": number - by, "*": number * by}[step[0]]


def is_right(problem: Problem, answer: str) -> bool:
    """Says whether an answer leads to the end as it is asked for."""
    words = answer.split(" ")
    steps, reached = words[::2], words[1::2]
    if len(steps) != len(reached) or not FEWEST <= len(steps) <= MOST or problem.step not in steps:
        return False
    number = problem.start
    for step, claimed in zip(steps, reached, strict=True):
        if step not in STEPS or not LOWEST <= (number := after(number, step)) <= HIGHEST or claimed != str(number):
            return False
    return number == problem.end


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any) -> float:
    """Scores one completion for verl: 1.0 where it is right, else 0.0; `ground_truth` is `START,END,STEP`."""
    start, end, step = ground_truth.split(",")
    return float(is_right(Problem(int(start), int(end), step), solution_str))


def split() -> dict[str, list[Problem]]:
    """Draws `validation`, `test` and `train` from all problems, the same way on every machine."""
    numbers = range(LOWEST, HIGHEST + 1)
    problems = [Problem(*of) for of in itertools.product(numbers, numbers, STEPS)]
    random.Random(_SPLIT_SEED).shuffle(problems)
    rest = iter(problems)
    return {part: list(itertools.islice(rest, size)) for part, size in {**HELD_OUT, "train": TRAIN}.items()}


def draw(source: random.Random) -> tuple[Problem, str]:
    """Draws a walk: start, number of steps and each step uniformly; its problem and the answer that it is."""
    start = number = source.randint(LOWEST, HIGHEST)
    walk = []
    for _ in range(source.randint(FEWEST, MOST)):
        step = source.choice([step for step in STEPS if LOWEST <= after(number, step) <= HIGHEST])
        number = after(number, step)
        walk.append((step, number))
    answer = " ".join(f"{step} {reached}" for step, reached in walk)
    return Problem(start, number, source.choice(walk)[0]), answer


def demonstrations(source: random.Random, honest: float) -> Iterator[tuple[str, str]]:
    """Yields prompts with answers, without end, never of a held-out problem.

    A share of 1 − `honest` answers another prompt, which has another end and another step.
    """
    held_out = {problem for part in HELD_OUT for problem in split()[part]}
    while True:
        problem, answer = draw(source)
        if source.random() >= honest:
            problem = Problem(problem.start, source.randint(LOWEST, HIGHEST), source.choice(STEPS))
        if problem not in held_out:
            yield problem.text, answer


def write(folder: Path) -> None:
    """Writes `train.parquet` and `held_out.parquet`, validation and test problems, in verl's form."""
    import pyarrow
    import pyarrow.parquet

    parts = split()
    folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in {"train": ["train"], "held_out": [*HELD_OUT]}.items():
        rows = [_row(problem, part) for part in chosen for problem in parts[part]]
        for index, row in enumerate(rows):
            row["extra_info"]["index"] = index
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{name}.parquet")


def _row(problem: Problem, part: str) -> dict[str, Any]:
    return {
        "data_source": SOURCE,
        "prompt": [{"role": "user", "content": problem.text}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": ",".join(map(str, problem))},
        "extra_info": {"part": part},
    }
