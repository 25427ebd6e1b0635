"""Plausible mistakes in `preflight`, each of which a test must notice."""

from mutants.mutant import Mutant

MUTANTS = (
    Mutant("preflight/megatron_layout.py", "expert_tensor_parallel_size or tensor", "expert_tensor_parallel_size or 1"),
    Mutant(
        "preflight/megatron_layout.py", "if ranks % (tensor * pipeline * context):", "if ranks % (tensor * pipeline):"
    ),
    Mutant("preflight/megatron_layout.py", "ranks // pipeline % (expert", "ranks % (expert"),
    Mutant("preflight/layout.py", "value < least", "value <= least"),
    Mutant("preflight/layout.py", "tokens * sequence_parallel(actor)[1]", "tokens"),
    Mutant("preflight/layout.py", "gpus % server", "server % gpus"),
    Mutant("preflight/layout.py", "heads % parts", "parts % heads"),
)
