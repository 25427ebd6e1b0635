"""Whether two expressions have the same value, by math-verify. It may take for ever: `pool` sets the limits."""

import re
from typing import Any

from frpo_verl.rewards import answers

_DIGITS = 50
"""Of numerical comparison, where an expression is no number and cannot be simplified; math-verify's default is 15."""

_INDEX = r"(?:_(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\w)))?"
_LETTER = re.compile(
    r"\\(?:text|mathbb|mathcal|mathfrak|mathscr|begin|end)\{[^{}]*\}"
    r"|\\(Delta|Theta|Lambda|Xi|Pi|Sigma|Upsilon|Phi|Psi|Omega|Gamma(?!\())(?![A-Za-z])\s*" + _INDEX + r"|\\[A-Za-z]+"
    r"|([A-Z]|e(?=_))" + _INDEX
)
_CAPITAL_INDEX = re.compile("_([A-Z])")
_UNREADABLE = {"e", "gamma"}
"""As letters with an index: to math-verify they are a number and a function."""
_ANGLE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\^\\circ")
_OF_AN_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")


def right(gold: str, answer: str) -> bool:
    """Compares an answer with the gold one.

    Args:
        gold: the right answer, LaTeX.
        answer: what somebody says it is.

    Returns:
        Whether the answer is right.
    """
    return answers.equal(gold, answer, same_value)


def same_value(gold: str, answer: str) -> bool:
    """Compares two expressions.

    Decimals are exact, unlike math-verify's own, which are rounded to six places: 3.141593 is not π.

    Args:
        gold: LaTeX without box and dollars.
        answer: the same.

    Returns:
        Whether both can be read and have the same value.
    """
    import math_verify

    read = [_read(_in_radians(_capitals_apart(text))) for text in (gold, answer)]
    if None in read:
        return False
    if _another_curve(*read):
        return False
    return math_verify.verify(*read, numeric_precision=_DIGITS, allow_set_relation_comp=True, timeout_seconds=None)


def _read(text: str) -> Any:
    import math_verify
    import sympy
    from latex2sympy2_extended import NormalizationConfig

    # Only LaTeX: the other reader picks a number out of any text that has one. No units: 5m is not 5.
    spelling = NormalizationConfig(units=False, malformed_operators=True, nits=True)
    latex = math_verify.LatexExtractionConfig(boxed_match_priority=0, normalization_config=spelling)
    read = math_verify.parse(
        rf"\boxed{{{text}}}",
        [latex],
        # All of the box or nothing: it would go on to look for a fraction anywhere in it.
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    if not read or read[0].has(sympy.nan, sympy.zoo):
        return None
    return read[0].xreplace({decimal: sympy.Rational(str(decimal)) for decimal in read[0].atoms(sympy.Float)})


def _capitals_apart(text: str) -> str:
    """math-verify reads R as r and Ω as ω: an index tells them apart, which spells the letter and the index it had."""
    return _LETTER.sub(_with_an_index, _CAPITAL_INDEX.sub(r"_{\1}", text))


def _with_an_index(found: re.Match[str]) -> str:
    greek, greek_group, greek_sign, latin, group, sign = found.groups()
    if not (letter := greek or latin):
        return found[0]
    number = "".join(f"{ord(each):03d}" for each in letter + (greek_group or greek_sign or group or sign or ""))
    small = letter.lower()
    name = r"\epsilon" if small in _UNREADABLE else rf"\{small}" if greek else small
    return rf"{name}_{{9{number}}}"


def _in_radians(text: str) -> str:
    """math-verify drops the sign of degrees; beside a sine it counts."""
    return _ANGLE.sub(r"{(\\frac{\1\\pi}{180})}", text) if _OF_AN_ANGLE.search(text) else text


def _another_curve(gold: Any, answer: Any) -> bool:
    """Whether two polynomial equations differ in more than a factor: to math-verify x=0 and x²=0 are the same."""
    import sympy

    if not (isinstance(gold, sympy.Eq) and isinstance(answer, sympy.Eq)):
        return False
    sides = (*gold.args, *answer.args)
    if any(not isinstance(side, sympy.Expr) or side.is_Matrix for side in sides):
        return False
    one, other = (side.lhs.doit() - side.rhs.doit() for side in (gold, answer))
    symbols = one.free_symbols | other.free_symbols
    if not (symbols and one.is_polynomial(*symbols) and other.is_polynomial(*symbols)):
        return False
    return bool(sympy.cancel(one / other).free_symbols)
