"""Imports reasoning-gym."""

import importlib.machinery
import importlib.util
import sys
import threading
import warnings
from types import ModuleType

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


def _placeholder(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    return module
