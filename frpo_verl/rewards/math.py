r"""Rewards a response with 1.0 if its last `\boxed{}` holds the right answer, else 0.0.

reward.custom_reward_function.path=pkg://frpo_verl.rewards.math reward.custom_reward_function.name=compute_score
"""

import importlib.util
import numbers
import re
from typing import Any

from frpo_verl.rewards import verdict
from frpo_verl.rewards.box import last_box
from frpo_verl.rewards.processes import pool

_INSTALL = "pip install 'frpo-verl[math]'"
if importlib.util.find_spec("math_verify") is None:
    raise ImportError(f"frpo_verl.rewards.math: math-verify is not installed, and it decides on answers; {_INSTALL}")

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")

_TASK = pool.Task("frpo_verl.rewards.grading", "accepts", (r"\frac{1}{2}", r"\boxed{x = 0.5}", "x = 0.5"), _INSTALL)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Scores one response; safe from any number of threads.

    Args:
        data_source: where the problem is from, for messages.
        solution_str: the response, any string.
        ground_truth: the right answer, LaTeX; or a number; or a list, whose values all belong to the answer.
        extra_info: the other entries of the row; not used.
        **kwargs: the limits of `verdict.limits` (`workers`, `seconds`, `memory_mib`), from
            `reward.custom_reward_function.reward_kwargs`; whatever else verl passes is not used.

    Returns:
        The facts of `verdict.facts`, `score` among them, and `acc_math_verify`: the verdict of math-verify alone on the
        whole response, as verl's `reward_score.math_verify` gives it (0.0 where it takes too long).

    Raises:
        ValueError: there is no right answer to compare with, or a limit is out of range.
        RuntimeError: the processes that check answers cannot start.
    """
    limits, gold, box = verdict.limits(kwargs), _text(ground_truth, data_source), last_box(solution_str)
    processes = pool.shared(_TASK, limits)
    right = box is not None and processes.ask(gold, rf"\boxed{{{box}}}", box)
    # What took too long in the box would do so again.
    library = right is not None and processes.ask(gold, solution_str)
    return {**verdict.facts(right=right, has_box=box is not None), "acc_math_verify": float(bool(library))}


def _text(ground_truth: Any, data_source: str) -> str:
    """Writes the right answer as text."""
    if hasattr(ground_truth, "tolist"):
        ground_truth = ground_truth.tolist()
    if isinstance(ground_truth, list | tuple):
        text = ", ".join(_text(value, data_source) for value in ground_truth)
    elif isinstance(ground_truth, numbers.Real) and not isinstance(ground_truth, bool) and ground_truth == ground_truth:
        text = format(ground_truth, ".15g") if isinstance(ground_truth, float) else str(ground_truth)
    else:
        text = ground_truth if isinstance(ground_truth, str) else ""
    if not text.strip():
        raise ValueError(
            f"{data_source}: reward_model.ground_truth is {ground_truth!r}, and an answer can only be compared with a "
            "text or a number; fill the column, or take the row out"
        )
    return text


def is_same(one: str, other: str) -> bool:
    """Tells whether two boxes hold one answer: the same text, or what is right where the other is the right answer."""
    if one.strip() == other.strip():
        return True
    if _WHOLE.fullmatch(one.strip()) and _WHOLE.fullmatch(other.strip()):
        return int(one) == int(other)
    return bool(pool.shared(_TASK, verdict.DEFAULTS).ask(one, rf"\boxed{{{other}}}", other))
