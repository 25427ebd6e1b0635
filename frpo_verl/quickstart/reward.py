"""Scores a completion by reasoning-gym's own verifier on the last number that the completion states.

verl loads this file by its path (`reward.custom_reward_function.path`) in its reward workers. A model as small as the
quickstart's does not box its answers; `frpo_verl.rewards.reasoning_gym` is for models that do.
"""

import re
from typing import Any

from frpo_verl.rewards import reasoning_gym

# A hyphen after a digit is a subtraction ("9-4"), not a sign. Decimals stay whole: "3.5" does not state 5.
_NUMBER = re.compile(r"(?:(?<![0-9])-)?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    **kwargs: Any,
) -> float:
    """Scores one completion.

    Args:
        data_source: `reasoning_gym/<name of the dataset>`.
        solution_str: the completion, any string.
        ground_truth: the answer of the problem.
        extra_info: the other entries of the problem, for verifiers that read more than the answer.
        **kwargs: the other arguments that verl passes; ignored.

    Returns:
        1.0 if the verifier gives full credit, else 0.0: reasoning-gym's partial credit for an answer that merely
        contains the right one would pay for guessing digits.

    Raises:
        ValueError: reasoning-gym has no dataset of that name.
    """
    numbers = _NUMBER.findall(solution_str.replace("\N{MINUS SIGN}", "-"))
    if not numbers:
        return 0.0
    entry = {**(extra_info or {}), "answer": str(ground_truth)}
    return float(reasoning_gym.full_credit(data_source.removeprefix("reasoning_gym/"), numbers[-1], entry))
