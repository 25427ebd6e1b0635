r"""Rewards a response to a task of reasoning-gym: the task's own verifier decides on the last `\boxed{}`.

reward.custom_reward_function.path=pkg://frpo_verl.rewards.reasoning_gym
reward.custom_reward_function.name=compute_score
"""

import functools
import importlib.util
import json
from collections.abc import Callable
from typing import Any

from frpo_verl.rewards import gym, senseless, verdict
from frpo_verl.rewards.box import LONGEST_OF_A_TASK, last_box
from frpo_verl.rewards.processes import pool

_INSTALL = "pip install reasoning-gym==0.1.25"
if importlib.util.find_spec("reasoning_gym") is None:
    raise ImportError(f"frpo_verl.rewards.reasoning_gym: reasoning-gym is not installed; {_INSTALL}")

_TASK = pool.Task(
    __name__,
    "full_credit_of_json",
    ("chain_sum", "3", '{"question": "1 + 2", "answer": "3", "metadata": {}}'),
    _INSTALL,
)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Scores one response; safe from any number of threads.

    The verifiers run in processes of their own: some of them evaluate what the response says.

    Args:
        data_source: where the problem is from, for messages.
        solution_str: the response, any string.
        ground_truth: not used: some tasks have more than one right answer.
        extra_info: `task`, reasoning-gym's name, and `entry`, its problem as JSON (question, answer, metadata).
        **kwargs: as for `frpo_verl.rewards.math.compute_score`.

    Returns:
        The facts of `verdict.facts`, `score` among them.

    Raises:
        ValueError: the row has no task or entry, its task pays for senseless answers, or a limit is out of range.
        RuntimeError: the processes that check answers cannot start.
    """
    limits = verdict.limits(kwargs)
    row = extra_info or {}
    for key in ("task", "entry"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise ValueError(
                f"{data_source}: extra_info.{key} is {row.get(key)!r}, and reasoning-gym's verifier needs it; make the "
                "data by frpo-verl data reasoning_gym:<task>"
            )
    if why := gym.UNFIT.get(row["task"]):
        raise ValueError(
            f"{data_source}: reasoning-gym's {row['task']} cannot be a reward, since {why}; take its rows out"
        )
    answer = last_box(solution_str, LONGEST_OF_A_TASK)
    if answer is None:
        return verdict.facts(right=False, has_box=False)
    right = pool.shared(_TASK, limits).ask(row["task"], answer.strip(), row["entry"])
    return verdict.facts(right=right, has_box=True)


def full_credit_of_json(task: str, answer: str, entry: str) -> bool:
    """Calls `full_credit` with an entry that is JSON."""
    return full_credit(task, answer, json.loads(entry))


def full_credit(task: str, answer: str, entry: dict[str, Any]) -> bool:
    """Asks a task's own verifier.

    Args:
        task: reasoning-gym's name.
        answer: the text of the box.
        entry: the problem, with everything that the verifier reads.

    Returns:
        True for full credit: partial credit for an answer that merely contains the right one would pay for guessing.
        A senseless answer has none, whatever the verifier says.

    Raises:
        ValueError: reasoning-gym has no task of that name.
    """
    return not senseless.is_senseless(task, answer, entry) and _verifier(task)(answer, entry) == 1.0


@functools.cache
def _verifier(task: str) -> Callable[[str, dict[str, Any]], float]:
    return gym.load().get_score_answer_fn(task)
