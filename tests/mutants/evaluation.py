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
    Mutant("evaluation/learned.py", "_starts_at(run.dumps, run", "_starts_at([point.step for point in points], run"),
    Mutant("evaluation/learned.py", "and first >= steps[-1].step else", "and False else"),
    Mutant("evaluation/learned.py", "step > self.starts_at", "step >= self.starts_at"),
    # which metric, at which steps
    Mutant("evaluation/series.py", "found if logged.points)", "found)"),
    Mutant("evaluation/series.py", "min(seeds), fmean(seeds), max(seeds)", "max(seeds), fmean(seeds), min(seeds)"),
    Mutant("evaluation/series.py", '    "actor/future_kl_penalty",\n', ""),
    # the held-out problems
    Mutant("evaluation/held_out.py", "score >= correct_at", "score > correct_at"),
    Mutant("evaluation/held_out.py", "return min(len(scores)", "return max(len(scores)"),
    Mutant("evaluation/held_out.py", "if match[2] in core]", "]"),
    Mutant("evaluation/held_out.py", "len(values) == len(names)}", "values}"),
    Mutant("evaluation/held_out.py", "dumps[max(dumps)]", "dumps[min(dumps)]"),
    Mutant("evaluation/held_out.py", "if n == best]", "]"),
    Mutant("evaluation/held_out.py", "if kind == kind_of_k and", "if"),
    # methods side by side
    Mutant("evaluation/compared.py", "set.intersection(", "set.union("),
    Mutant("evaluation/compared.py", "measured = [seed for seed in seeds if seed]", "measured = list(seeds)"),
    Mutant("evaluation/compared.py", "if all(map(math.isfinite, at)) else", "if True else"),
    Mutant("evaluation/compared.py", "if keys != asked[0]]", "if len(keys) != len(asked[0])]"),
    Mutant("evaluation/compared.py", "next(([name] for name", "next((panel.metrics for name"),
    Mutant("evaluation/compared.py", "most = min((k for", "most = max((k for"),
    Mutant("evaluation/compared.py", "in step.metrics][-LAST:]", "in step.metrics][:LAST]"),
    Mutant("evaluation/compared.py", "if len(without) == len(runs) else", "if without else"),
    Mutant("evaluation/compared.py", "if len(set(ends)) > 1:", "if len(ends) > 1:"),
    # what is shown of it
    Mutant("evaluation/tables.py", "max(values) - LAST)", "max(values) - LAST - 1)"),
    Mutant("evaluation/tables.py", "max(0, max(values) - LAST)", "max(values) - LAST"),
    Mutant("evaluation/tables.py", "round(value, 12) + 0.0", "value + 0.0"),
    Mutant("evaluation/tables.py", "after.value - before.value", "before.value - after.value"),
    Mutant("evaluation/tables.py", "steps[(len(steps) - 1) % stride :: stride]", "steps[::stride]"),
    Mutant(
        "evaluation/figures.py",
        "zip(*points, strict=True)\n    colour",
        "zip(*points, strict=True)\n    mean = least\n    colour",
    ),
    Mutant("evaluation/svg.py", "if name and name not in used:", "if name in used:"),
    # what verl wrote
    Mutant(
        "evaluation/dumps.py", "isinstance(score, int | float) and math.isfinite(score)", "isinstance(score, float)"
    ),
    Mutant("evaluation/file_log.py", "math.nan if value is None", "0.0 if value is None"),
    Mutant("evaluation/metrics.py", "if known >= step]", "if known > step]"),
    Mutant("evaluation/metrics.py", "            last = step\n", ""),
    Mutant("evaluation/metrics.py", "of_step.pop(name, None)", "pass"),
    Mutant("evaluation/metrics.py", "if is_again and step == last:", "if False:"),
    Mutant("evaluation/console_log.py", "pairs.pop()", "pass"),
    Mutant("evaluation/wandb_files.py", " or crc != zlib.crc32(data, zlib.crc32(bytes([kind])))", ""),
    Mutant("evaluation/wandb_files.py", "if room < _HEAD.size:", "if room < 0:"),
    Mutant(
        "evaluation/event_files.py",
        "except errors.OutOfRangeError:",
        "except (errors.OutOfRangeError, errors.DataLossError):",
    ),
    Mutant("evaluation/sources.py", 'key=lambda file: int(file.parent.name.split("-")[1])', "key=str"),
    Mutant("evaluation/tokens.py", "else whole - part for", "else part - whole for"),
    Mutant("evaluation/tokens.py", "sorted(paths, reverse=True)", "sorted(paths)"),
    Mutant("evaluation/tokens.py", "max((abs(value) for", "max((value for"),
    Mutant("evaluation/arguments.py", "folders.count(_folder(path)) == 1", "folders"),
)
