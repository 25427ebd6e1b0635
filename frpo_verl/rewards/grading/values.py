"""Objections to other values, equations that have to be solved first, and lists for points.

math-verify rounds decimals to six places, compares expressions to fifteen digits and reads the end of an equation.
"""

from itertools import permutations
from typing import Any

import sympy
from sympy.core.relational import Relational

_DIGITS = 1000
"""So many may cancel before two values count as equal."""

_LETTERS = (2, 3, 5, 7, 11, 13, 17, 19)
"""Values of letters: an identity holds for positive integers at least."""


def objects(right: list[Any], given: list[Any]) -> bool:
    """Compares what math-verify reads in the right answer and in one that it accepts for it."""
    if isinstance(right[0], str) or isinstance(given[0], str):
        return False
    try:
        return _has_to_be_solved(right[0], given[0]) or _differ(right[0], given[0])
    # What sympy cannot compute with proves nothing.
    except Exception:
        return False


def _has_to_be_solved(gold: Any, answer: Any) -> bool:
    """Finds statements that leave work to do: 4 = 5 and x + 1 = 5 do not say 5; x + 1 > 3 does not say x > 2."""
    wanted, told = _relations(gold), _relations(answer)
    if wanted or not told:
        return all(map(_is_solved, wanted)) and any(not _is_solved(each) and 0 not in each.args for each in told)
    first, last = told[0].lhs.doit(), told[-1].rhs
    if any(not side.free_symbols and _differ(side, last) for side in (first, *(each.rhs for each in told))):
        return True
    return len(first.free_symbols) == 1 and not first.is_Symbol and first.is_polynomial() and sympy.degree(first) == 1


def _relations(value: Any) -> list[Any]:
    parts = getattr(value, "_unsorted_args", value.args) if isinstance(value, sympy.And) else [value]
    return list(parts) if all(isinstance(part, Relational) for part in parts) else []


def _is_solved(relation: Any) -> bool:
    return any(one.is_Symbol and not other.free_symbols for one, other in permutations(relation.args))


def _differ(gold: Any, answer: Any) -> bool:
    """Proves that two values differ, or that two relations give different values to the same letter."""
    wanted, told = _relations(gold), _relations(answer)
    if wanted and told:
        return any(map(_give_different_values, wanted, told))
    one, other = (parts[-1].rhs if parts else value for value, parts in ((gold, wanted), (answer, told)))
    if isinstance(one, sympy.FiniteSet) or isinstance(other, sympy.FiniteSet):
        return _differ_as_lists(_members(one), _members(other))
    if _parts(one) and _parts(other):
        return any(map(_differ, _parts(one), _parts(other)))
    return isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr) and _differ_as_numbers(one, other)


def _give_different_values(gold: Any, answer: Any) -> bool:
    same = [at for at in (0, 1) if gold.args[at] == answer.args[at] and gold.args[at].is_Symbol]
    return type(gold) is type(answer) and any(_differ(gold.args[1 - at], answer.args[1 - at]) for at in same)


def _members(value: Any) -> list[Any]:
    return list(getattr(value, "_unsorted_args", value.args)) if isinstance(value, sympy.FiniteSet) else [value]


def _differ_as_lists(one: list[Any], other: list[Any]) -> bool:
    """Compares kinds: a point is not a list, but x = 1, y = 2 may tell one."""
    if any(map(_relations, one + other)):
        return False
    return len(one) != len(other) or any(all(_differ(each, every) for every in other) for each in one)


def _parts(value: Any) -> list[Any]:
    """Returns the parts that keep their places; math-verify reads the point (1, 2) as an interval."""
    if isinstance(value, sympy.Interval):
        return [value.start, value.end]
    return (
        value.flat()
        if isinstance(value, sympy.MatrixBase)
        else list(value.args if isinstance(value, sympy.Tuple) else ())
    )


def _differ_as_numbers(one: Any, other: Any) -> bool:
    # A symbol may be a word that is spelt in two ways; math-verify takes 9% for 9.
    if one.is_Symbol or other.is_Symbol or one.has(sympy.UnevaluatedExpr) or other.has(sympy.UnevaluatedExpr):
        return False
    if {one.doit().is_infinite, other.doit().is_infinite} == {True, False}:
        return True
    unclear = (sympy.oo, -sympy.oo, sympy.nan, sympy.zoo)
    if one.has(*unclear) or other.has(*unclear):
        return False
    difference = _exact(one) - _exact(other)
    names = sorted({letter.name for letter in difference.free_symbols})
    values = dict(zip(names, _LETTERS, strict=False))
    number = difference.subs({letter: values[letter.name] for letter in difference.free_symbols}).evalf(2, maxn=_DIGITS)
    # A precision of 1 is sympy's mark of a number of which no digit is certain.
    return any(part.is_Float and part._prec > 1 and part != 0 for part in number.as_real_imag())


def _exact(value: Any) -> Any:
    """Reads decimals as they are written."""
    return value.xreplace({each: sympy.Rational(str(each)) for each in value.atoms(sympy.Float)}).doit()
