"""Plausible mistakes in `plan`, each of which a test must notice."""

from mutants.mutant import Mutant

MUTANTS = (
    Mutant("plan/memory.py", "optimizer=2 * model.trained * each", "optimizer=model.trained * each"),
    Mutant("plan/memory.py", "model.experts / of_experts) / stages", "model.experts / tensor) / stages"),
    Mutant("plan/memory.py", "(12 if kept == 2 else 8)", "(8 if kept == 2 else 12)"),
    Mutant("plan/memory.py", "value.update - value.between)", "value.update)"),
    Mutant("plan/memory.py", "return forward, 2 * size(", "return forward, size("),
    Mutant("plan/memory.py", "if together and not section", "if not section"),
)
