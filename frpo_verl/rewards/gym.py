"""Imports reasoning-gym, and knows which of its tasks and problems cannot be a reward."""

import importlib.machinery
import importlib.util
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

UNFIT = {
    "coin_flip": "the digits before an answer's first wrong one count, so that 0 is paid for every 0.…",
    "game_of_life_halting": "any text counts as the right answer",
    "propositional_logic": "(P ∨ Q) follows from the premises of five problems in six",
    "puzzle24": "1*2*3*4 counts as the answer to every problem",
}
"""Tasks whose verifier pays for one answer to very many problems, and why."""

_lock = threading.Lock()


def load() -> ModuleType:
    """Imports reasoning-gym, which takes a second or more; safe from several threads, as verl's reward workers need.

    Returns:
        The package.
    """
    with _lock, warnings.catch_warnings():
        # From its dependencies, shown once, when Python compiles them.
        warnings.simplefilter("ignore", SyntaxWarning)
        if "pycosat" not in sys.modules and importlib.util.find_spec("pycosat") is None:
            # Only its SAT puzzles call pycosat, which has no wheel: without this every user would need a C compiler.
            sys.modules["pycosat"] = _placeholder("pycosat")
        import reasoning_gym

    return reasoning_gym


def is_empty(right_answer: Any) -> bool:
    """Returns True for a right answer that is a text without a letter or digit to write."""
    return isinstance(right_answer, str) and not right_answer.strip()


def _placeholder(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    return module
