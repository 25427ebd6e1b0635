"""Plausible mistakes in evaluating models by their samples, each of which a test must notice."""

from mutants.mutant import Mutant

BEST, MAJ, INTERVALS, LINES = (f"evaluation/{name}.py" for name in ("best_at_k", "maj_at_k", "intervals", "dumps"))
PROBLEM, SOURCES, DUMPS, GRADED, READING = (
    f"eval/{name}.py" for name in ("problem", "sources", "dumps", "graded", "reading")
)
MEASURED, OUTPUT, EVALUATING, CHECKPOINT, DIVERGENCE, SAMPLING = (
    f"eval/{name}.py" for name in ("measured", "output", "evaluating", "checkpoint", "divergence", "sampling")
)

FIRST = {
    READING: ("eval/test_evaluating.py", "eval/test_sampling.py"),
    DIVERGENCE: ("eval/test_divergence.py", "eval/test_sampling.py"),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    # the bootstrap
    Mutant(BEST, "RESAMPLES, SEED = 1000, 42", "RESAMPLES, SEED = 1000, 43"),
    Mutant(BEST, "replace=True", "replace=False"),
    Mutant(BEST, ".max(axis=1)", ".mean(axis=1)"),
    Mutant(BEST, "float(best.std())", "float(best.std(ddof=1))"),
    Mutant(BEST, "if not 1 <= k <= len(scores):", "if not 0 <= k <= len(scores):"),
    # the majority
    Mutant(MAJ, "for j in range(min(votes, size + 1))", "for j in range(min(votes + 1, size + 1))"),
    Mutant(MAJ, "_moved(score + mean * chance, votes)", "_moved(score, votes)"),
    Mutant(MAJ, "score[t, k] / t", "score[t, k]"),
    Mutant(MAJ, "sum(each) / len(each)", "each[0]"),
    Mutant(MAJ, "chance[:, k + 1 :], score[:, k + 1 :] = 0, 0", "pass"),
    Mutant(MAJ, "if p == 1:", "if p == 2:"),
    Mutant(MAJ, "if size >= votes else 0.0", "if size > votes else 0.0"),
    # intervals
    Mutant(INTERVALS, "tail = (1 - LEVEL) / 2", "tail = 1 - LEVEL"),
    Mutant(INTERVALS, "(copies @ sums) / (copies @ counted)", "(copies @ sums) / number"),
    Mutant(INTERVALS, "/ math.sqrt(len(values))", "/ math.sqrt(len(values) - 1)"),
    Mutant(INTERVALS, "len(values) - 1)\n    return Interval", "len(values))\n    return Interval"),
    Mutant(INTERVALS, "(1 + LEVEL) / 2, len", "LEVEL, len"),
    Mutant(INTERVALS, "min(block, RESAMPLES - start)", "block"),
    Mutant(INTERVALS, "if number < 2:", "if number < 1:"),
    # a problem
    Mutant(PROBLEM, "if score[other] == score[number]", ""),
    Mutant(PROBLEM, "if None not in (text, self.said[other])", ""),
    # which files
    Mutant(SOURCES, "if len(whole[step]) == len(sources)]", "]"),
    Mutant(SOURCES, "first <= step <= last", "first <= step < last"),
    Mutant(SOURCES, "any(whole.glob(", "not any(whole.glob("),
    Mutant(SOURCES, ' and not (folder / "lora_train_meta.json").exists()', ""),
    Mutant(SOURCES, "if _is_megatrons_adapter(folder):", "if False:"),
    # what verl dumped
    Mutant(LINES, "[asked, gold, source]", "[asked, gold]"),
    Mutant(LINES, "[asked, gold, source]", "[asked, source]"),
    Mutant(LINES, '2**20), b"")) + 1', '2**20), b""))'),
    Mutant(LINES, 'if dump.read() == b"\\n":', "if dump.read():"),
    Mutant(LINES, "if last != earlier:", "if True:"),
    Mutant(LINES, "isinstance(score, int | float) and math.isfinite(score)", "isinstance(score, int | float)"),
    Mutant(LINES, 'if not line.endswith(b"\\n"):', "if False:"),
    Mutant(LINES, 'row.get("step", step) != step', "False"),
    Mutant(LINES, "if not number:", "if False:"),
    Mutant(DUMPS, "has_field |= row.get(PRED) is not None", "has_field |= PRED in row"),
    Mutant(LINES, "if _state(file) != before:", "if False:"),
    Mutant(LINES, 'row.get("gts"), source', "None, source"),
    # graded responses
    Mutant(GRADED, 'of.get("temperature") == 1 and ', ""),
    Mutant(GRADED, ' and of.get("top_p") == 1', ""),
    Mutant(GRADED, 'if about.get(rule) == "drop":', "if False:"),
    Mutant(GRADED, "pred or boxed(text)", "boxed(text)"),
    Mutant(GRADED, "all(map(math.isfinite, scores))", "True"),
    # what is computed
    Mutant(MEASURED, "score >= asked.correct_at", "score > asked.correct_at"),
    Mutant(MEASURED, "-problem.log_prob /", "problem.log_prob /"),
    Mutant(MEASURED, "problem.tokens / len(problem.scores), alike", "problem.tokens / len(problem.scores), tokens"),
    Mutant(
        MEASURED,
        "problem.log_ratio / max(problem.tokens, 1), tokens",
        "problem.log_ratio / max(problem.tokens, 1), alike",
    ),
    Mutant(MEASURED, "deviations.mean(axis=(1, 2))", "deviations.std(axis=(1, 2))"),
    Mutant(OUTPUT, 'if set(column[1:]) != {"-"}', ""),
    Mutant(OUTPUT, "    partial.replace(file)\n", ""),
    # from files to results
    Mutant(EVALUATING, "if k <= n]", "if k < n]"),
    Mutant(EVALUATING, "    kept.remove()\n", "    pass\n"),
    Mutant(EVALUATING, "frozenset(samples.problems)", "len(samples.problems) > 99"),
    Mutant(EVALUATING, "return _refused(said.problems)\n    kept.r", "return 0\n    kept.r"),
    Mutant(EVALUATING, "for choose in (min, max))", "for choose in (max, min))"),
    Mutant(READING, "found.st_size, found.st_mtime_ns, self._settings", "self._settings"),
    Mutant(READING, "            kept.write(unit.file, samples)\n", "            pass\n"),
    Mutant(READING, "of_policy - of_reference", "of_reference - of_policy"),
    Mutant(READING, "problem.merge(is_same)", "pass"),
    # models
    Mutant(CHECKPOINT, "if json.loads((made / _FROM).read_text()) == files:", "if made.exists():"),
    Mutant(CHECKPOINT, "    unfinished.rename(made)\n", "    pass\n"),
    Mutant(CHECKPOINT, "if ended.returncode:", "if False:"),
    Mutant(CHECKPOINT, 'if not config.get("lora_alpha"):', "if False:"),
    Mutant(CHECKPOINT, 'and "optim" not in str(file.relative_to(folder))', ""),
    Mutant(SAMPLING, "for k in options.k or () if k > n)", "for k in ())"),
    Mutant(SAMPLING, '"duplicates": "keep"', '"duplicates": "drop"'),
    Mutant(SAMPLING, '"no_signal": "keep"', '"no_signal": "drop"'),
    Mutant(DIVERGENCE, "logits_to_keep=width + 1", "logits_to_keep=width"),
    Mutant(DIVERGENCE, ".logits[:, :-1]", ".logits[:, 1:]"),
    Mutant(DIVERGENCE, "torch.where(valid[:, part] > 0, each.double(), 0)", "each.double()"),
    Mutant(DIVERGENCE, "if number >= done:", "if True:"),
    Mutant(DIVERGENCE, "    sampling.mend(file)\n", "    pass\n"),
    Mutant(DIVERGENCE, '!= about.get("tokenizer")', "== None"),
    Mutant(DIVERGENCE, 'if about.get("weights") != models.weights(policy):', "if False:"),
    # the answer that a reward function found
    Mutant("offline/sampled.py", 'pred or "" if has_preds else None', "pred"),
)
