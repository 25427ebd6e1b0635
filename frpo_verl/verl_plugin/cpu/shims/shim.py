"""What a shim is: one small change to verl or vLLM, with its reason, its version, and a check."""

import functools
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import wrapt

from frpo_verl.preflight.errors import HostError


class Shim(NamedTuple):
    """One change to a host module.

    Attributes:
        name: what messages call it.
        module: the module that it changes; it is applied when that module is imported.
        hosts: the distributions that may provide the module, the first installed one counts.
        versions: the versions of the host that it was written for.
        reason: the obstacle that it removes.
        is_needed: whether the host still has the obstacle.
        apply: the change; raises AttributeError, KeyError or TypeError when the host no longer allows it.
    """

    name: str
    module: str
    hosts: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str
    is_needed: Callable[[ModuleType], bool]
    apply: Callable[[ModuleType], None]


def schedule(shim: Shim) -> None:
    """Applies a shim as soon as its module is imported.

    Args:
        shim: what to apply.
    """
    wrapt.register_post_import_hook(functools.partial(apply, shim), shim.module)


def apply(shim: Shim, module: ModuleType) -> None:
    """Changes the module, or says why that is not needed or not possible.

    Args:
        shim: what to apply.
        module: the imported module that it names.

    Raises:
        HostError: the host no longer allows the change.
    """
    host, version = installed(shim.hosts)
    if version.split("+")[0] not in shim.versions:
        _say(f"CPU platform: shim {shim.name!r} was written for {host} {', '.join(shim.versions)}, this is {version}")
    try:
        if not shim.is_needed(module):
            _say(f"CPU platform: {host} {version} no longer needs the shim {shim.name!r}; it was left out")
            return
        shim.apply(module)
    except (AttributeError, KeyError, TypeError, OSError) as error:
        raise HostError(
            f"the CPU platform cannot run on {host} {version}: its shim {shim.name!r} ({shim.reason}) no longer fits "
            f"({error}); install {host} {shim.versions[-1]}"
        ) from error


def installed(hosts: tuple[str, ...]) -> tuple[str, str]:
    """The first installed distribution of several.

    Args:
        hosts: distribution names.

    Returns:
        Its name and version.

    Raises:
        HostError: none is installed.
    """
    for host in hosts:
        try:
            return host, importlib.metadata.version(host)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise HostError(f"the CPU platform needs {' or '.join(hosts)}, and none is installed; run `make setup`")


def _say(message: str) -> None:
    print(f"frpo-verl: {message}", file=sys.stderr)
