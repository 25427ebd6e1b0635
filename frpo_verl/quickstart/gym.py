"""reasoning-gym, imported."""

import importlib.util
import sys
import warnings
from types import ModuleType


def load() -> ModuleType:
    """Imports reasoning-gym, which takes a second or more, as it imports all of its task families.

    Returns:
        The package.
    """
    if importlib.util.find_spec("pycosat") is None:
        # Only its SAT puzzles call pycosat, which has no wheel: without this every user would need a C compiler.
        sys.modules.setdefault("pycosat", ModuleType("pycosat"))
    with warnings.catch_warnings():
        # Its dependencies' own, shown once, when Python compiles them.
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym

    return reasoning_gym
