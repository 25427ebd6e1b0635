"""Defines what the reward functions here take and return, apart from the answer itself."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from frpo_verl.rewards.processes.pool import Limits
from frpo_verl.rewards.processes.tally import Tally

DEFAULTS = Limits(workers=2, seconds=5.0, memory_mib=1024)
"""Two workers, so that one endless question costs half of the speed; an ordinary one takes milliseconds. math-verify
gives a step as many seconds."""

_lost = Tally("had no verdict within the limits of time and memory, and score 0")


def facts(*, right: bool | None, has_box: bool) -> dict[str, float]:
    """Writes the result of a response as verl reads it; verl's averages need every key for every response.

    Args:
        right: the verdict, None if there was none within the limits of time and memory.
        has_box: whether the response has an answer at all.

    Returns:
        `score` (the reward) and `acc` (the name that verl's validation looks for), 1.0 for right, else 0.0;
        `format`, 1.0 for a response with a complete box; `timed_out`, 1.0 if there was no verdict.
        A verifier that raises has said no.
    """
    if right is None:
        _lost.add()
    score = float(bool(right))
    return {"score": score, "acc": score, "format": float(has_box), "timed_out": float(right is None)}


def limits(given: Mapping[str, Any]) -> Limits:
    """Reads the limits from what verl passes to a reward function.

    Args:
        given: keywords, `reward.custom_reward_function.reward_kwargs` among them.

    Returns:
        The limits; the default for each that is not given. verl's own keywords are ignored.

    Raises:
        ValueError: a limit is out of range, or a keyword is nearly the name of one.
    """
    for key in given.keys() - set(Limits._fields):
        if near := difflib.get_close_matches(key, Limits._fields, 1, 0.7):
            raise ValueError(f"reward_kwargs.{key}={given[key]}: there is no such key; did you mean {near[0]}?")
    chosen = DEFAULTS._replace(**{key: given[key] for key in Limits._fields if key in given})
    for key, kind in (("workers", int), ("seconds", int | float), ("memory_mib", int)):
        value = getattr(chosen, key)
        if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < math.inf:
            raise ValueError(
                f"reward_kwargs.{key}={value!r}: must be a positive number, for instance {getattr(DEFAULTS, key)}"
            )
    return chosen
