"""Knows answers that deserve nothing, whatever a verifier of reasoning-gym says of them."""

import math
import re
from collections.abc import Mapping
from typing import Any

from frpo_verl.rewards import gym

_EVALUATING = ("simple_integration", "intermediate_integration", "polynomial_multiplication")
"""Tasks whose verifier evaluates the answer with sympy, and would solve the problem for who writes `integrate(...)`."""

_CALL = re.compile(r"\b([^\W\d]\w*)\s*\(")
_ELEMENTARY = re.compile(r"a?(sin|cos|tan|sec|csc|cot)h?|exp|log|ln|sqrt|[aA]bs|[a-zA-Z]")
_POWER_OF_TEN = re.compile(r"\b\d+(?:\.\d*)?e\+?\d+")
_NOT_FINITE = re.compile(r"s?nan[ij]?|z?oo|inf(inity)?[ij]?")


def is_senseless(task: str, answer: str, entry: Mapping[str, Any]) -> bool:
    """Returns True for an answer that is empty, not a finite number, or the problem itself to be worked out.

    The text of the right answer is none of these, unless that is empty, which no answer can be told from.

    Args:
        task: reasoning-gym's name.
        answer: the text of the box.
        entry: the problem; its right answer is None where a verifier needs none.

    Returns:
        Whether the verifier need not be asked.
    """
    gold = entry.get("answer")
    if not answer.strip() or gym.is_empty(gold):
        return True
    if answer.strip() == str(gold).strip():
        return False
    return not _is_finite(answer) or (task in _EVALUATING and _is_left_to_the_verifier(answer, str(gold)))


def _is_finite(answer: str) -> bool:
    """Returns False for numbers one of which overflows, is infinite or is not a number; words are finite."""
    words = re.findall(r"[^\W\d_]+", answer.lower())
    named = [word for word in words if _NOT_FINITE.fullmatch(word)]
    if named and all(word in named or len(word) == 1 for word in words):
        return False
    return all(math.isfinite(float(number)) for number in _POWER_OF_TEN.findall(answer.lower()))


def _is_left_to_the_verifier(answer: str, right_answer: str) -> bool:
    """Returns True for an answer that calls what neither the right answer nor school mathematics does."""
    known = set(_CALL.findall(right_answer))
    return any(name not in known and not _ELEMENTARY.fullmatch(name) for name in _CALL.findall(answer))
