"""Plausible mistakes in what trainers read, compute and log, each of which a test must notice."""

from mutants.mutant import Mutant

OBJECTIVE, FIGURES, DATA = "trainers/objective.py", "trainers/figures.py", "trainers/offline_data.py"
GRADED, UNFIT, SAMPLING = "trainers/graded.py", "trainers/unfit_rows.py", "trainers/sampling.py"
VALIDATION, EXPORT = "trainers/validation.py", "trainers/export.py"

FIRST = {
    DATA: ("trainers/test_offline_data.py", "trainers/test_validation.py"),
    FIGURES: ("trainers/test_objective.py",),
    UNFIT: ("trainers/test_graded.py",),
    SAMPLING: ("trainers/test_validation.py",),
    "trainers/ragged.py": ("trainers/test_graded.py",),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    Mutant("trainers/validation.py", "seen.add(source)", "seen.add(0)"),
    Mutant("trainers/resumed.py", "if earlier[key] != value", "if earlier[key] == value"),
    # the loss
    Mutant(OBJECTIVE, "shifts=-1, dims=0)", "shifts=0, dims=0)"),
    Mutant(OBJECTIVE, "* ranks / items", "/ items"),
    Mutant(OBJECTIVE, "* ranks / items", "* ranks / len(rows.mask)"),
    Mutant(OBJECTIVE, "for first in (0, 1)", "for first in (1, 0)"),
    Mutant(OBJECTIVE, "self.settings.lam if self.settings.is_over_the_vocabulary else 0.0", "0.0"),
    Mutant(OBJECTIVE, "negatives_only(at(rows.log_prob), at(rows.future_log_prob))", "at(rows.future_log_prob)"),
    Mutant(OBJECTIVE, 'if self.settings.weighted == "both"', 'if self.settings.weighted != "both"'),
    Mutant(OBJECTIVE, "self.settings.beta, self.settings.alpha", "self.settings.alpha, self.settings.beta"),
    Mutant(OBJECTIVE, "return at(rows.log_prob)\n        if", "return at(rows.ref_log_prob)\n        if"),
    # figures
    Mutant(FIGURES, "reduced[name + SUM] / reduced[name + COUNT]", "reduced[name + SUM]"),
    Mutant(FIGURES, "if reduced[name + COUNT]}", "}"),
    Mutant(FIGURES, "(rows.advantages < 0)[:, None] & rows.mask", "(rows.advantages < 0)[:, None]"),
    Mutant(FIGURES, "/ settings.lam, rows.mask", ", rows.mask"),
    Mutant(FIGURES, "score[0::2] - score[1::2]", "score[1::2] - score[0::2]"),
    Mutant(FIGURES, "rows.future_log_prob - rows.log_prob, where", "rows.log_prob - rows.future_log_prob, where"),
    Mutant(FIGURES, "rows.log_prob - rows.ref_log_prob, where", "rows.ref_log_prob - rows.log_prob, where"),
    Mutant(FIGURES, "settings.beta * (log_prob -", "(log_prob -"),
    # data
    Mutant(DATA, "scores > threshold", "scores >= threshold"),
    Mutant(DATA, "np.bincount(prompt_of, centred**2) / count", "np.bincount(prompt_of, centred**2) / (count - 1)"),
    Mutant(DATA, "np.where(flat, 0.0, centred", "np.where(flat, centred, centred"),
    Mutant(DATA, "scores[:, None] > scores[None, :]", "scores[:, None] >= scores[None, :]"),
    Mutant(DATA, "scores[:, None] > scores[None, :]", "scores[:, None] < scores[None, :]"),
    Mutant(DATA, "every = start + np.argwhere", "every = np.argwhere"),
    Mutant(DATA, "default_rng([seed, prompt])", "default_rng([prompt])"),
    Mutant(DATA, "default_rng([seed, prompt])", "default_rng(seed)"),
    Mutant(DATA, "most, replace=False", "most, replace=True"),
    Mutant(DATA, "mask[len(prompt_ids) :] = 1", "mask[len(prompt_ids) - 1 :] = 1"),
    Mutant(DATA, "better, 1.0), ", "better, -1.0), "),
    Mutant(DATA, "np.flatnonzero(advantages)", "np.arange(len(advantages))"),
    Mutant(DATA, 'for ids in line["response_ids"] if ids]', 'for ids in line["response_ids"]]'),
    Mutant("trainers/ragged.py", "np.concatenate([[0], np.cumsum(lengths)])", "np.cumsum([*lengths, 0])"),
    Mutant(GRADED, "[*tokenizer(text, add_special_tokens=False)", "[*tokenizer(text)"),
    Mutant(GRADED, ", tokenizer.eos_token_id]", "]"),
    Mutant(GRADED, "json.dumps(sorted(tokenizer.get_vocab().items()))", "json.dumps(sorted(tokenizer.get_vocab()))"),
    Mutant(GRADED, "json.dumps(sorted(tokenizer.get_vocab().items()))", "json.dumps(tokenizer.get_vocab())"),
    Mutant(GRADED, "np.repeat(np.arange(len(self.prompts)), np.diff(self.first))", "np.arange(len(self.scores))"),
    Mutant(UNFIT, "ragged.values >= vocabulary", "ragged.values > vocabulary"),
    Mutant(UNFIT, "(ragged.values < 0) |", "(ragged.values < -1) |"),
    Mutant(UNFIT, "lengths > longest, prompt_of", "lengths >= longest, prompt_of"),
    Mutant(UNFIT, "graded.prompts.lengths[prompt_of] + graded", "graded"),
    Mutant(UNFIT, "np.unique(rows[wrong])", "rows[wrong]"),
    # settings
    Mutant("trainers/settings.py", "self.lam > 0 or", "self.lam > 1 or"),
    Mutant("trainers/settings.py", 'self.loss in ("dpo", "rpo")', 'self.loss in ("dpo",)'),
    Mutant("trainers/settings.py", "value < LEAST[key]", "value < LEAST[key] - 1"),
    Mutant("trainers/settings.py", "isinstance(value, bool) or ", ""),
    # samples and weights
    Mutant(SAMPLING, "if spec.rows is None else spec.rows", ""),
    Mutant(SAMPLING, "if row not in done]", "]"),
    Mutant(SAMPLING, 'if line.endswith(b"\\n"))', ")"),
    Mutant(SAMPLING, "end = start + found + 1", "end = start + found"),
    Mutant(SAMPLING, "            end = start\n", "            end = 0\n"),
    Mutant(SAMPLING, "spec.seed * 1_000_003 + next(iter(encoded))", "spec.seed * 1_000_003"),
    Mutant(SAMPLING, "max(map(len, encoded.values())) + spec.max_tokens", "max(map(len, encoded.values()))"),
    Mutant(SAMPLING, 'key=lambda line: line["row"])', "key=lambda line: 0)"),
    Mutant(VALIDATION, 'scores.setdefault(line["data_source"], [])', 'scores.setdefault("all", [])'),
    Mutant(VALIDATION, 'prompts[line["row"]]', "prompts[0]"),
    Mutant(EXPORT, "kept.clone().contiguous()", "kept.contiguous()"),
    Mutant(EXPORT, "shutil.rmtree(folder, ignore_errors=True)", "pass"),
    Mutant(EXPORT, "size + kept.nbytes > LARGEST", "False"),
    Mutant(EXPORT, '".index.json", ', ""),
    Mutant(EXPORT, "        for _ in parameters:\n            pass\n", ""),
)
