"""Plausible mistakes in `rewards`, each of which a test must notice."""

from mutants.mutant import Mutant

FIRST = {
    "rewards/grading/__init__.py": ("rewards/test_grading.py",),
    "rewards/grading/values.py": ("rewards/test_grading.py",),
    "rewards/grading/wording.py": ("rewards/test_grading.py",),
    "rewards/processes/pool.py": ("rewards/processes/test_pool.py",),
    "rewards/processes/worker.py": ("rewards/processes/test_pool.py",),
    "rewards/processes/tally.py": ("rewards/processes/test_pool.py",),
    "rewards/verdict.py": ("rewards/test_math.py",),
}
"""Test files in which a mistake in a file shows soonest, if not the one of the same name."""

GRADING, VALUES, WORDING = "rewards/grading/__init__.py", "rewards/grading/values.py", "rewards/grading/wording.py"
POOL, WORKER = "rewards/processes/pool.py", "rewards/processes/worker.py"
SENSELESS = "rewards/senseless.py"

MUTANTS = (
    # What counts as an answer
    Mutant("rewards/box.py", "text.rfind(_COMMAND, 0, at)", "text.find(_COMMAND, 0, at)"),
    Mutant("rewards/box.py", "if depth == 0:", "if depth <= 1:"),
    Mutant("rewards/box.py", r'r"\\.|[{}]"', 'r"[{}]"'),
    # and as the same one
    Mutant(GRADING, "wording.objects(gold, box) or ", ""),
    Mutant(GRADING, " or values.objects(right, given)", ""),
    Mutant(GRADING, "    if not verify(right, given, timeout_seconds=None):\n        return False\n", ""),
    Mutant(WORDING, "not _telling(answer) <= _telling(gold)", "bool(_telling(answer))"),
    Mutant(WORDING, "_base(gold) != _base(answer)", "False"),
    Mutant(WORDING, "[A-Z]{3,}|", "[A-Za-z]{3,}|"),
    Mutant(WORDING, "sorted(map(str.casefold, one)) != sorted(map(str.casefold, other))", "one != other"),
    Mutant(WORDING, "set(_LETTER.findall(one)) if _FORMULA.search(one) else set()", "set(_LETTER.findall(one))"),
    Mutant(VALUES, "return _has_to_be_solved(right[0], given[0]) or ", "return "),
    Mutant(VALUES, "return all(map(_is_solved, wanted)) and ", "return bool(wanted) and "),
    Mutant(VALUES, " and 0 not in each.args for each in told", " for each in told"),
    Mutant(VALUES, " and sympy.degree(first) == 1", ""),
    Mutant(VALUES, "return len(one) != len(other) or ", "return "),
    Mutant(VALUES, "    if any(map(_relations, one + other)):\n        return False\n", ""),
    Mutant(VALUES, "        return [value.start, value.end]", "        return []"),
    Mutant(VALUES, "sympy.Rational(str(each))", "each"),
    Mutant(VALUES, "one.is_Symbol or other.is_Symbol or ", ""),
    Mutant(VALUES, "part._prec > 1 and ", ""),
    Mutant(VALUES, "evalf(2, maxn=_DIGITS)", "evalf(2, maxn=50)"),
    # the limits
    Mutant(WORKER, "            _limit_memory(int(memory))\n", ""),
    Mutant(POOL, "range(2):\n            self._wait", "range(1):\n            self._wait"),
    Mutant(POOL, 'return verdict if about == number else ""', "return verdict"),
    Mutant(POOL, "            self._ready = line == worker.READY", "            self._ready = bool(line)"),
    Mutant(WORKER, "        if any(current):\n", "        if status:\n"),
    Mutant(WORKER, "    os.dup2(nowhere, descriptor)\n", ""),
    Mutant(WORKER, "    except MemoryError:\n", "    except ZeroDivisionError:\n"),
    Mutant("rewards/processes/tally.py", "count & (count - 1) == 0", "count == 0"),
    # what is never paid
    Mutant(SENSELESS, "not answer.strip() or gym.is_empty(gold)", "not answer.strip()"),
    Mutant(SENSELESS, "not answer.strip() or gym.is_empty(gold)", "gym.is_empty(gold)"),
    Mutant(SENSELESS, "answer.strip() == str(gold).strip()", "False"),
    Mutant(SENSELESS, "not _is_finite(answer) or ", ""),
    Mutant(SENSELESS, "task in _EVALUATING and ", ""),
    Mutant(SENSELESS, "word in named or len(word) == 1 for word in words", "word in named for word in words"),
    Mutant(SENSELESS, "named and all(word in named or len(word) == 1 for word in words)", "named"),
    Mutant(SENSELESS, "name not in known and ", ""),
    Mutant("rewards/reasoning_gym.py", "not senseless.is_senseless(task, answer, entry) and ", ""),
    Mutant("rewards/verdict.py", "score = float(bool(right))", "score = float(right is not False)"),
    Mutant("rewards/math.py", "processes.ask(gold, solution_str)", "right"),
    Mutant("rewards/math.py", "return int(one) == int(other)", "return one == other"),
    Mutant("rewards/math.py", "if one.strip() == other.strip():", "if one == other:"),
)
