"""Compares the installed verl, Ray and Hydra with `contract_table`.

A host that changed a symbol is named at once, instead of failing far away.
"""

import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

from packaging.version import Version

from frpo_verl.preflight import environment
from frpo_verl.preflight.contract_table import CONTRACT, FIRST_VERL, UNHOOKED, Symbol
from frpo_verl.preflight.errors import HostError

TESTED_VERL = (FIRST_VERL, "0.9.0", "0.9.1")

FIX = f"install verl {TESTED_VERL[-1]} with what it needs, or a newer frpo-verl"

_DISTRIBUTIONS = {"hydra": "hydra-core", "transfer_queue": "TransferQueue"}

problems: list[str] = []
"""The reasons why hooks left their modules as they are, in this process."""


def of_this_host() -> list[Symbol]:
    """Returns the rows that the installed verl should have. Raises HostError where verl is not installed."""
    installed = Version(verl_version())
    return [symbol for symbol in CONTRACT if Version(symbol.since) <= installed]


def refuse_if_changed() -> None:
    """Raises HostError in a process where a hook left its module as it is."""
    if problems:
        raise HostError(problems[0])


def refuse_misfit() -> None:
    """Raises HostError where a module that a run uses, in workers too, is not as in the table; before Ray starts."""
    for name in UNHOOKED:
        require(importlib.import_module(name))
    refuse_if_changed()


def misfits() -> Iterator[str]:
    """Yields the sentence that `refuse_misfit` would raise."""
    try:
        refuse_misfit()
    except HostError as error:
        yield str(error)


def mismatch(symbol: Symbol, module: ModuleType) -> str | None:
    """Returns a clause that names the difference between a row and its module, or None where there is none."""
    target = module
    for part in symbol.name.split("."):
        target = getattr(target, part, None)
    if target is None:
        return f"{symbol.module}.{symbol.name} is gone"
    if not symbol.parameters:
        return None
    missing = [name for name in symbol.parameters if name not in inspect.signature(target).parameters]
    if missing:
        return f"{symbol.module}.{symbol.name} has no parameter {', '.join(missing)}"
    return None


def require(module: ModuleType) -> None:
    """Raises HostError where a symbol of the module is gone or has lost a parameter."""
    rows = [symbol for symbol in CONTRACT if symbol.module == module.__name__]
    found = [difference for symbol in rows if (difference := mismatch(symbol, module))]
    if found:
        host = _host(module.__name__)
        raise HostError(f"{host} differs from what frpo-verl was written for: {'; '.join(found)}; {FIX}")


def _host(module: str) -> str:
    root = module.split(".")[0]
    name = _DISTRIBUTIONS.get(root, root)
    return f"{name} {verl_version() if name == 'verl' else importlib.metadata.version(name)}"


def verl_version() -> str:
    """Returns the installed verl's version, for instance `0.9.1`. Raises HostError where there is none."""
    try:
        return importlib.metadata.version("verl")
    except importlib.metadata.PackageNotFoundError:
        raise HostError(f"verl is not installed; pip install 'verl=={TESTED_VERL[-1]}'") from None


def untested(version: str) -> str:
    """Returns the sentence on a verl that was not tested."""
    return f"verl {version} is not tested with this frpo-verl; install verl {TESTED_VERL[-1]}"


def check_version() -> None:
    """Says on stderr when verl is not a version that was tested; raises HostError where FRPO_VERL_STRICT=1."""
    version = verl_version()
    if version in TESTED_VERL:
        return
    message = untested(version)
    if environment.is_strict():
        raise HostError(f"{message}, or unset FRPO_VERL_STRICT")
    print(f"frpo-verl: {message}", file=sys.stderr)
