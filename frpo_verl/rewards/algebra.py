"""Whether two expressions have the same value, by math-verify. It may take for ever: `pool` sets the limits."""

import re
from typing import Any

from frpo_verl.rewards import answers

_DIGITS = 50
"""Of numerical comparison, where an expression is no number and cannot be simplified; math-verify's default is 15."""

_CAPITAL = re.compile(r"\\[A-Za-z]+|\\text\{[^{}]*\}|([A-Z])")


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

    read = [_read(text) for text in _capitals_apart(gold, answer)]
    if None in read:
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


def _capitals_apart(*texts: str) -> list[str]:
    """math-verify reads R as r. Where letters have no indices of their own, an index tells them apart."""
    if any("_" in text for text in texts):
        return list(texts)
    return [_CAPITAL.sub(lambda found: f"{found[1].lower()}_{{99}}" if found[1] else found[0], text) for text in texts]
