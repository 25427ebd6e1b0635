"""Plausible mistakes in `evaluation`, each of which a test must notice."""

from mutants.mutant import Mutant

MUTANTS = (
    # pass@k
    Mutant("evaluation/pass_at_k.py", "comb(n - c, k) /", "comb(c, k) /"),
    Mutant("evaluation/pass_at_k.py", "1 - comb(n - c, k) / comb(n, k)", "1 - (1 - c / n) ** k"),
    Mutant("evaluation/pass_at_k.py", "if not 1 <= k <= n:", "if not 0 <= k <= n:"),
    Mutant("evaluation/pass_at_k.py", "if not 0 <= c <= n:", "if not 0 <= c:"),
    # what a run learned
    Mutant("evaluation/learned.py", "statistics.fmean(solved)", "sum(num_correct) / sum(num_samples)"),
    Mutant("evaluation/learned.py", "/ math.sqrt(len(values))", "/ len(values)"),
    Mutant("evaluation/learned.py", "statistics.stdev(values)", "statistics.pstdev(values)"),
    Mutant("evaluation/learned.py", "score >= correct_at", "score > correct_at"),
    Mutant("evaluation/learned.py", "min(num_samples, default=0) < k", "max(num_samples, default=0) < k"),
    Mutant("evaluation/learned.py", "starts_at=min(dumps, default=0)", "starts_at=points[0].step if points else 0"),
    Mutant("evaluation/learned.py", "step > self.starts_at", "step >= self.starts_at"),
    # which metric, at which steps
    Mutant("evaluation/series.py", "found if logged.points)", "found)"),
    Mutant("evaluation/series.py", "min(seeds), fmean(seeds), max(seeds)", "max(seeds), fmean(seeds), min(seeds)"),
    Mutant("evaluation/series.py", '    "actor/future_kl_penalty",\n', ""),
    # methods side by side
    Mutant("evaluation/compared.py", "set.intersection(", "set.union("),
    Mutant("evaluation/compared.py", "held_out(1, ", "held_out(8, "),
    Mutant("evaluation/compared.py", ", correct_at)\n", ", 1.0)\n"),
    Mutant("evaluation/compared.py", "if any(quantity.methods.values()))", ")"),
    Mutant("evaluation/compared.py", "measured or every)", "measured)"),
    # what is shown of it
    Mutant("evaluation/tables.py", "max(values) - LAST)", "max(values) - LAST - 1)"),
    Mutant("evaluation/tables.py", "max(0, max(values) - LAST)", "max(values) - LAST"),
    Mutant("evaluation/tables.py", "round(value, 3) + 0.0", "round(value, 3)"),
    Mutant("evaluation/tables.py", "round(value, 12) + 0.0", "value + 0.0"),
    Mutant("evaluation/tables.py", "after.value - before.value", "before.value - after.value"),
    # what verl wrote
    Mutant("evaluation/run_log.py", "rollouts.add(rollout)", "pass"),
    Mutant("evaluation/run_log.py", "math.nan if value is None", "0.0 if value is None"),
    Mutant("evaluation/run_log.py", "if _is_finished(paths[step])", "if paths[step].stat().st_size"),
)
