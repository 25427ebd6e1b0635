"""Changes verl by wrapping a named function once its module is imported."""

import functools
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

Wrapper = Callable[..., Any]
"""Called as `wrapper(host, *args, **kwargs)`, with the wrapped function first."""

_MARK = "_frpo_verl_wrapper"


def wrap(owner: ModuleType | type, name: str, wrapper: Wrapper) -> None:
    """Replaces `owner.name` by `wrapper` around it; a second call with the same wrapper does nothing.

    The replacement keeps the host's module and qualified name, so that cloudpickle sends it to Ray by reference.
    verl modules that had already bound the function by name are rebound, so that a plugin loaded late works too.
    """
    host = getattr(owner, name)
    if getattr(host, _MARK, None) is wrapper:
        return

    if inspect.iscoroutinefunction(host):
        # Ray awaits what it recognises as a coroutine function, and nothing else.
        @functools.wraps(host)
        async def replacement(*args: Any, **kwargs: Any) -> Any:
            return await wrapper(host, *args, **kwargs)

    else:

        @functools.wraps(host)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return wrapper(host, *args, **kwargs)

    setattr(replacement, _MARK, wrapper)
    setattr(owner, name, replacement)
    if isinstance(owner, ModuleType):
        _rebind_copies(name, host, replacement)


def _rebind_copies(name: str, host: Callable, replacement: Callable) -> None:
    for module_name, module in list(sys.modules.items()):
        is_verl = module_name == "__main__" or module_name.split(".")[0] == "verl"
        if is_verl and module is not None and vars(module).get(name) is host:
            setattr(module, name, replacement)
