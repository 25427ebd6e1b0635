"""Plausible mistakes in `plan`, each of which a test must notice."""

from mutants.mutant import Mutant

MUTANTS = (
    # the memory that a run expects
    Mutant("plan/fsdp.py", "states=2 * trained * in_memory", "states=trained * in_memory"),
    Mutant("plan/fsdp.py", "layer + unit if model.head", "2 * unit if model.head"),
    Mutant("plan/megatron.py", "ranks / stages / of_experts", "ranks / tensor / stages / of_experts"),
    Mutant("plan/megatron.py", "a_micro_batch * (stages - 1)", "a_micro_batch * stages"),
    Mutant("plan/activations.py", "(2 + how.scaled + 4 * how.entropy)", "(1 + how.scaled + 4 * how.entropy)"),
)
