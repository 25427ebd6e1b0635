"""Plausible mistakes in `divergences`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "divergences/parts.py": ("divergences/test_catalogue.py",),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    # divergences
    Mutant("divergences/parts.py", "torch.expm1(-delta) + delta", "torch.exp(-delta) + delta - 1"),
    Mutant("divergences/parts.py", "return -torch.expm1(-rising(delta))", "return torch.expm1(-rising(delta))"),
    Mutant("divergences/parts.py", "return delta.square() / 2 + delta", "return delta.square() / 2 - delta"),
    Mutant("divergences/parts.py", "return -delta * torch.exp(-delta)", "return delta * torch.exp(-delta)"),
    Mutant("divergences/parts.py", "return delta - torch.expm1(-delta)", "return delta + torch.expm1(-delta)"),
    Mutant(
        "divergences/parts.py",
        "torch.exp(-delta) * of_reference + of_policy",
        "torch.exp(-delta) * of_policy + of_reference",
    ),
    Mutant(
        "divergences/parts.py",
        "return log_of_mean_ratios(rising(delta))[1] / 2",
        "return log_of_mean_ratios(rising(delta))[0] / 2",
    ),
    Mutant("divergences/parts.py", "-torch.expm1(-2 * rising(delta, growth=2.0))", "-torch.expm1(-2 * rising(delta))"),
    Mutant(
        "divergences/parts.py",
        "return 2 * torch.expm1(saturated(delta))",
        "return torch.expm1(2 * saturated(delta))",
    ),
    Mutant("divergences/parts.py", "return torch.sign(delta) / 2", "return -torch.sign(delta) / 2"),
    Mutant("divergences/catalogue.py", "if order < 0.5:", "if order < 2.0:"),
    Mutant(
        "divergences/catalogue.py",
        "FORWARD_KL_K3 if order > 0.5 else REVERSE_KL_K3",
        "REVERSE_KL_K3 if order > 0.5 else FORWARD_KL_K3",
    ),
    Mutant("divergences/catalogue.py", "growth = max(1.0, abs(order))", "growth = 1.0"),
    Mutant("divergences/generator.py", "value.detach() + gradient + slope", "value.detach() - gradient + slope"),
    Mutant("divergences/generator.py", "value.detach() + gradient + slope", "value.detach() + gradient - slope"),
    Mutant("divergences/forms.py", "local=generator.future,", "local=generator.local,"),
    Mutant("divergences/forms.py", "future=lambda delta: generator.future(clipped(delta))", "future=generator.future"),
)
