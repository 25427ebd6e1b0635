"""Plausible mistakes in `ground`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "checks.py": ("advantage/test_future.py", "advantage/test_groups.py"),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    Mutant("checks.py", "bad.nonzero()[0]", "bad.nonzero()[-1]"),
    Mutant("checks.py", "int(bad.sum())", "len(bad)"),
    Mutant("checks.py", "response_mask.bool() & ~torch.isfinite(tensor)", "~torch.isfinite(tensor)"),
    # base
    Mutant("masking.py", "tokens.clamp(min=1)", "mask.numel()"),
    Mutant(
        "masking.py",
        "torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))",
        "values * mask",
    ),
    Mutant("rows.py", "result[rows] = function", "result[: rows.stop - rows.start] = function"),
)
