"""Hand-written mistakes, one table a room; `PYTHONPATH=tests python -m mutants` runs the tests on each."""

from mutants import advantage, cpu, divergences, ground, plan, preflight, rewards, verl_plugin
from mutants.mutant import Mutant as Mutant

_TABLES = (advantage, cpu, divergences, ground, plan, preflight, rewards, verl_plugin)
MUTANTS = tuple(mutant for table in _TABLES for mutant in table.MUTANTS)
FIRST = {file: tests for table in _TABLES for file, tests in getattr(table, "FIRST", {}).items()}
