"""Plausible mistakes in `ground`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "checks.py": ("advantage/test_future.py", "advantage/test_groups.py"),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    Mutant("checks.py", "offsets[-1] != len(tensor.values())", "False"),
    Mutant("checks.py", "int(bad[0][1][0])", "int(bad[0][1][-1])"),
    # base
    Mutant("masking.py", "mask.sum().clamp(min=1)", "mask.numel()"),
    Mutant(
        "masking.py",
        "torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))",
        "values * mask",
    ),
    Mutant(
        "rows.py", "parts[row].copy_(computed[: sizes[row]])", "parts[members[0]].copy_(computed[: sizes[members[0]]])"
    ),
    Mutant("rows.py", "result[rows] = block", "result[: len(block)] = block"),
)
