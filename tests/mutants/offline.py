"""Plausible mistakes in making files of graded responses, each of which a test must notice."""

from mutants.mutant import Mutant

GROUPS, PROMPTS, RESPONSES, ROLLOUTS = (f"offline/{name}.py" for name in ("groups", "prompts", "responses", "rollouts"))
MAKING, SAMPLED, WORK, TABLE = (f"offline/{name}.py" for name in ("making", "sampled", "work", "table"))
REQUEST, MODEL, SAMPLER = "offline/request.py", "offline/model.py", "trainers/sampler.py"

FIRST = {
    SAMPLED: ("offline/test_making.py",),
    "findings.py": ("offline/test_responses.py",),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    # duplicates and signal
    Mutant(GROUPS, "self.text if self.ids is None else tuple(self.ids)", "self.text"),
    Mutant(GROUPS, "first.setdefault(response.key(), response)", "first[response.key()] = response"),
    Mutant(GROUPS, "response.score != first.setdefault", "response.score == first.setdefault"),
    Mutant(GROUPS, "for response in responses}) > 1", "for response in responses}) > 0"),
    Mutant(GROUPS, "response.score > THRESHOLD", "response.score >= THRESHOLD"),
    Mutant(GROUPS, "response.score <= THRESHOLD", "response.score < THRESHOLD"),
    Mutant(GROUPS, "group = group._replace(responses=unique)", "pass"),
    Mutant(GROUPS, 'if duplicates == "drop":', "if True:"),
    Mutant(GROUPS, "len(group.responses) - len(unique)", "len(unique)"),
    Mutant("findings.py", "(file, mistake.column, mistake.fix)", "(file, mistake.column, mistake.column)"),
    Mutant("findings.py", "and {count - 1} more", "and {count} more"),
    # prompts
    Mutant(PROMPTS, '[row["prompt"], row.get("data_source"), gold(row)]', '[row["prompt"], gold(row)]'),
    Mutant(PROMPTS, '[row["prompt"], row.get("data_source"), gold(row)]', '[row["prompt"], row.get("data_source")]'),
    Mutant(PROMPTS, "seen.setdefault(identity(row), number)", "seen[identity(row)] = number"),
    Mutant(PROMPTS, "if length > most]", "if length >= most]"),
    Mutant(PROMPTS, 'in ("prompt", *CARRIED) if', 'in ("prompt",) if'),
    # responses
    Mutant(RESPONSES, "row[many] = [value] if single else value", "row[many] = value"),
    Mutant(RESPONSES, "responses[number] += _responses(row)", "responses[number] = list(_responses(row))"),
    Mutant(RESPONSES, " and math.isfinite(score)", ""),
    Mutant(
        RESPONSES,
        "if 0 < (having := sum(name in row for row in rows)) < len(rows):",
        "if 0 < (having := sum(name in row for row in rows)) < 0:",
    ),
    Mutant(RESPONSES, 'len({about.get("tokenizer") for about in said}) > 1', "False"),
    Mutant(RESPONSES, 'row["log_probs"]] if "log_probs" in row', 'row["log_probs"]] if False'),
    Mutant(RESPONSES, "if len(responses) != len(scores):", "if False:"),
    # rollouts
    Mutant(ROLLOUTS, "skip_special_tokens=True", "skip_special_tokens=False"),
    Mutant(ROLLOUTS, "len(candidates) == 1 or ", ""),
    Mutant(ROLLOUTS, "if len(fitting) == 1:", "if fitting:"),
    Mutant(ROLLOUTS, 'step=line["step"])', "step=None)"),
    Mutant(ROLLOUTS, "len(ids) >= most", "len(ids) > most"),
    Mutant(ROLLOUTS, "[*ids, tokenizer.eos_token_id]", "ids"),
    Mutant(ROLLOUTS, "if sentence := dumps.cut(file):", "if (sentence := dumps.cut(file)) and False:"),
    Mutant(ROLLOUTS, "steps[0] <= step <= steps[1]", "steps[0] <= step < steps[1]"),
    Mutant(ROLLOUTS, "problems = [] if groups else", "problems = [] if True else"),
    # state that a kill must not lose, and other settings must not meet
    Mutant(WORK, "            sampling.mend(file)\n", ""),
    Mutant(WORK, "offset += len(line)", "offset += 1"),
    Mutant(WORK, "if self.agree(name, settings):", "if False:"),
    Mutant(WORK, "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"),
    Mutant(WORK, "elif before != after:", "elif key in there and before != after:"),
    Mutant(SAMPLED, "if row not in done]", "]"),
    Mutant(SAMPLED, "if row not in there]", "]"),
    Mutant(SAMPLED, "rows[part::parts]", "rows"),
    Mutant(SAMPLED, "sampler.gpus() // each", "sampler.gpus()"),
    Mutant(SAMPLED, "sampler.visible(part * each, each)", "sampler.visible(part, each)"),
    Mutant(SAMPLED, "    sampling.mend(work.scores)\n", ""),
    Mutant(MAKING, 'folder.agree_or_clear("reward", grading, folder.scores)', "pass"),
    Mutant(MAKING, 'settings["weights"] = model.weights(request.model)', "pass"),
    Mutant(MAKING, "if key not in rules}", "}"),
    Mutant(MAKING, "        folder.remove()\n", ""),
    Mutant(TABLE, "take([group.row for group in part])", "slice(0, len(part))"),
    Mutant(TABLE, "        os.replace(unfinished, path)\n", "        pass\n"),
    Mutant(TABLE, "unfinished.unlink(missing_ok=True)", "pass"),
    Mutant(TABLE, 'path.with_name(f"{path.name}.writing")', "path"),
    Mutant(REQUEST, "not 0 < options.top_p <= 1", "not 0 <= options.top_p <= 1"),
    Mutant(REQUEST, "value < 1:", "value < 0:"),
    Mutant(REQUEST, "options.temperature == 0 and options.n != 1", "options.temperature == 0"),
    Mutant(MODEL, "wanted > most", "wanted >= most"),
    # the processes
    Mutant(SAMPLER, "key not in OF_TORCHRUN", "True"),
    Mutant(SAMPLER, "(ON_CPU if is_on_cpu() else {}) | environment | devices", "environment | devices | ON_CPU"),
    Mutant(SAMPLER, "(ON_CPU if is_on_cpu() else {}) | environment | devices", "environment | devices"),
    Mutant(SAMPLER, ", stdin=subprocess.PIPE", ""),
    Mutant(SAMPLER, "[first : first + count]", "[:count]"),
)
