"""Mistakes written by hand, one table per room; `PYTHONPATH=tests python -m mutants` runs the tests on each of them.

A module of this folder with `MUTANTS` is a table. Its `FIRST`, if any, names the test files for a file of the package
whose tests are not in the file of the same name.
"""

import importlib
import pkgutil

from mutants.mutant import Mutant as Mutant

_TABLES = [
    importlib.import_module(f"mutants.{found.name}")
    for found in pkgutil.iter_modules(__path__)
    if found.name not in ("__main__", "mutant")
]
MUTANTS: tuple[Mutant, ...] = tuple(mutant for table in _TABLES for mutant in table.MUTANTS)
FIRST: dict[str, tuple[str, ...]] = {
    file: tests for table in _TABLES for file, tests in getattr(table, "FIRST", {}).items()
}
