"""Defines a shim: one small change to verl, vLLM or Megatron-Core, with its reason, version and check."""

import functools
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import wrapt

from frpo_verl.preflight.errors import HostError


class Shim(NamedTuple):
    """Describes one change to a host module.

    Attributes:
        name: its name in messages.
        module: the module that it changes; it is applied when that module is imported.
        hosts: the distributions that may provide the module; the first installed one counts.
        versions: the versions of the host that it was written for.
        reason: the obstacle that it removes.
        is_needed: tells if the host still has the obstacle.
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
    """Applies a shim as soon as its module is imported."""
    wrapt.register_post_import_hook(functools.partial(apply, shim), shim.module)


def apply(shim: Shim, module: ModuleType) -> None:
    """Applies a shim to its imported module, or says that the host no longer needs it, or raises HostError."""
    host, version = installed(shim.hosts)
    if version.split("+")[0] not in shim.versions:
        _say(f"CPU platform: the shim {shim.name!r} is for {host} {', '.join(shim.versions)}; {version} is installed")
    try:
        if not shim.is_needed(module):
            _say(f"CPU platform: {host} {version} no longer needs the shim {shim.name!r}; it is not applied")
            return
        shim.apply(module)
    except (AttributeError, KeyError, TypeError, OSError) as error:
        raise HostError(
            f"the CPU platform cannot run on {host} {version}: its shim {shim.name!r} ({shim.reason}) no longer fits "
            f"({error}); install {host} {shim.versions[-1]}"
        ) from error


def installed(hosts: tuple[str, ...]) -> tuple[str, str]:
    """Returns the name and version of the first of several distributions that is installed."""
    for host in hosts:
        try:
            return host, importlib.metadata.version(host)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise HostError(f"the CPU platform needs {' or '.join(hosts)}, and none is installed; run `make setup`")


def _say(message: str) -> None:
    print(f"frpo-verl: {message}", file=sys.stderr)
