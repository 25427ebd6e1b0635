"""Plausible mistakes in `data`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "data/building.py": ("data/test_building.py", "data/test_leakage.py"),
    "data/catalogue.py": ("data/test_problem.py",),
    "data/problem.py": ("data/test_reading.py",),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

MUTANTS = (
    # which problems are the same
    Mutant("data/dedup.py", '_SUBSCRIPT.sub(r"_{\\g<0>}", ', "(lambda text: text)("),
    Mutant("data/dedup.py", '_QUOTED.sub(r" \\1\\2 ", text)', "text"),
    Mutant("data/dedup.py", "word[0].casefold() if word[1] else word[0]", "word[0].casefold()"),
    Mutant("data/dedup.py", '_NO_WHOLE_PART.sub("0.", text)', "text"),
    Mutant("data/dedup.py", "(?<![0-9]) | (?![0-9])", " "),
    Mutant("data/dedup.py", "(?<![0-9.,;:])[.,;:]+|(?<![.,;:])[.,;:]+(?![0-9.,;:])", "[.,;:]+"),
    Mutant("data/dedup.py", "if self._answers[number] != answer:", "if False:"),
    Mutant("data/dedup.py", "self._answers[number] = answer\n            return False", "return False"),
    # test problems that are trained on
    Mutant("data/leakage.py", '_files(folder, "test") for row', '_files(folder, "train") for row'),
    Mutant("data/leakage.py", "without(table.read(path), known, Counter()), path)", "table.read(path), path)"),
    Mutant("data/leakage.py", 'Counter(manifest["dropped"]) + counts', "counts"),
    Mutant("data/leakage.py", '"rows": rows, ', ""),
    Mutant("data/building.py", 'leakage.clean(path.parent) if part.split == "test" else {}', "{}"),
    Mutant("data/building.py", "    taken = leakage.clean(path.parent)\n    there", "    taken = {}\n    there"),
    Mutant("data/gym_tasks.py", "draw.held_out * 2**64", "draw.held_out * 2**63"),
    # what a train set has, and a benchmark
    Mutant("data/building.py", "not benchmark and ", ""),
    Mutant("data/building.py", "if not seen.contradictory(each.text)", ""),
    Mutant("data/building.py", "if len(kept) == limit:", "if read == limit:"),
    Mutant("data/building.py", "part.rows not in (None, found.read)", "False"),
    Mutant("data/catalogue.py", 're.fullmatch(r"-?[0-9]+", problem.answer)', 're.match(r"-?[0-9]+", problem.answer)'),
    # gold answers
    Mutant("data/gold.py", "last_box(text, len(text))", "last_box(text)"),
    Mutant("data/gold.py", ' and "$" not in text.strip("$")', ""),
    Mutant("data/gold.py", "isinstance(value, float) and value.is_integer()", "isinstance(value, float)"),
    Mutant("data/gold.py", 'str(int(text)) if re.fullmatch(r"-?[0-9]+", text) else text', "text"),
    Mutant("data/gold.py", '.replace(",", "")', ""),
    Mutant("data/problem.py", "abs(raw) >= _EXACT", "abs(raw) >= 10**4 * _EXACT"),
    # files that are whole, and known again
    Mutant("data/table.py", "unfinished = _unfinished(path)\n    try", "unfinished = path\n    try"),
    Mutant("data/table.py", "sort_keys=True, ", ""),
    Mutant("data/table.py", "digest.update(_canonical(each))\n            count", "count"),
    Mutant(
        "data/table.py",
        "        lock.acquire()\n    except PermissionError",
        "        pass\n    except PermissionError",
    ),
    Mutant("data/building.py", 'known["header"] != header or ', ""),
)
