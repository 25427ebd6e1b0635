"""Plausible mistakes in `rewards`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "rewards/shapes.py": ("rewards/test_answers.py",),
    "rewards/spelling.py": ("rewards/test_answers.py",),
    "rewards/units.py": ("rewards/test_answers.py",),
    "rewards/algebra.py": ("rewards/test_answers.py",),
    "rewards/processes/worker.py": ("rewards/processes/test_pool.py",),
    "rewards/verdict.py": ("rewards/test_math.py",),
}
"""Where a mistake in a file shows soonest, if not in the test file of the same name."""

MUTANTS = (
    # rewards: what counts as an answer, and as the same one
    Mutant("rewards/box.py", "text.rfind(_COMMAND, 0, at)", "text.find(_COMMAND, 0, at)"),
    Mutant("rewards/box.py", "if depth == 0:", "if depth <= 1:"),
    Mutant("rewards/box.py", r'r"\\.|[{}]"', 'r"[{}]"'),
    Mutant("rewards/answers.py", "gold.brackets == answer.brackets", "True"),
    Mutant("rewards/answers.py", "    if len(gold) != len(answer):\n        return False\n    left", "    left"),
    Mutant("rewards/answers.py", "        del left[found]\n", ""),
    Mutant(
        "rewards/answers.py", "return _based(gold) == _based(answer)", "return _based(gold)[0] == _based(answer)[0]"
    ),
    Mutant("rewards/answers.py", "    if units.clash(gold.unit, answer.unit):\n        return False\n", ""),
    Mutant(
        "rewards/answers.py", "return word.casefold() == said.casefold()", "return word.casefold() in said.casefold()"
    ),
    Mutant("rewards/answers.py", "text)) for text in (right, said))", "text)) for text in (right, right))"),
    Mutant("rewards/answers.py", "or _COMPUTES.search(bare) ", ""),
    Mutant("rewards/answers.py", " or len(set(letters)) == len(letters)", ""),
    Mutant("rewards/answers.py", "_may_be_per_cent(gold, answer) and ", ""),
    Mutant("rewards/answers.py", "(10 ** len(period) - 1)", "10 ** len(period)"),
    Mutant("rewards/answers.py", "all(_same_one(last, step, same_value) for step in steps) and ", ""),
    Mutant("rewards/answers.py", "set(_QUESTION.findall(answer)) - set(_QUESTION.findall(gold))", "None"),
    Mutant("rewards/shapes.py", '_with_signs(text, "-", "+")', '_with_signs(text, "+", "-")'),
    Mutant("rewards/spelling.py", "if not text.isascii() or not text.isprintable():", "if not text.isprintable():"),
    Mutant("rewards/units.py", 'and _may_be_unit(said["words"])', ""),
    Mutant("rewards/algebra.py", 'extraction_mode="first_match"', 'extraction_mode="any_match"'),
    Mutant("rewards/algebra.py", "    if _another_curve(*read):\n        return False\n", ""),
    Mutant("rewards/algebra.py", "sympy.Rational(str(decimal))", "decimal"),
    Mutant("rewards/algebra.py", "_in_radians(_capitals_apart(text))", "_in_radians(text)"),
    Mutant("rewards/processes/worker.py", "            _limit_memory(int(memory))\n", ""),
    Mutant("rewards/processes/pool.py", "range(2):\n            self._wait", "range(1):\n            self._wait"),
    Mutant("rewards/processes/pool.py", 'return verdict if about == number else ""', "return verdict"),
    Mutant(
        "rewards/processes/pool.py",
        "            self._ready = line == worker.READY",
        "            self._ready = bool(line)",
    ),
    Mutant("rewards/processes/worker.py", "        if any(current):\n", "        if status:\n"),
    Mutant("rewards/processes/worker.py", "    os.dup2(nowhere, descriptor)\n", ""),
    Mutant("rewards/verdict.py", "score = float(bool(right))", "score = float(right is not False)"),
)
