r"""Whether an answer is the gold one: a computer algebra system decides on values, and nothing but values gets to it.

math-verify alone takes `(1,-2)` for the solutions 1 and -2, `x+1=5` for 5, `2516_7` for `2516_8`, 0.333333 for 1/3
and `\sum_{k=1}^{100} k` for its value. What decides here, in this order: the same text; the same shape (order,
brackets, number of values); the same words, base and unit; the same rational number; and only then algebra.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from frpo_verl.rewards import shapes, spelling, units
from frpo_verl.rewards.shapes import One, Ordered, Several, Shape

Values = Callable[[str, str], bool]
"""Decides whether the second of two expressions has the value of the first."""

_INTEGER = r"[-+]?\d+"
_NUMBER = re.compile(
    r"(?P<decimal>[-+]?(?:\d+\.?\d*|\.\d+))"
    rf"|(?P<sign>[-+]?)\\frac\{{(?P<over>{_INTEGER})\}}\{{(?P<under>{_INTEGER})\}}"
    rf"|(?P<slash>{_INTEGER}/\d+)"
    r"|(?P<whole>[-+]?\d*\.(?P<start>\d*))\\overline\{(?P<period>\d+)\}"
)
# Only where the right answer is one: elsewhere e is Euler's number.
_SCIENTIFIC = re.compile(r"^(?P<digits>[-+]?(?:\d+\.?\d*|\.\d+))[eE](?P<sign>[-+]?)(?P<exponent>\d+)$")
_BASED = re.compile(r"([0-9A-Z]+)_(?:\{(\d+)\}|(\d))")
# Four letters or more are no product.
_WORDS = re.compile(r"\\text\{\s*([^{}]*?)[\s.]*\}|([A-Za-z][A-Za-z ]{3,})")
_MIXED = re.compile(r"[-+]?[1-9]\d*\\frac")
_SAID = re.compile(r"\\text\{([^{}]*)\}")
_NAME = re.compile(r"(?:\\?[A-Za-z]+|\\text\{[^{}]*\})(?:_\{?\w+\}?)?(?:\([^()]*\))?")
# What computes with a value, or compares it, at the left of an equation.
_COMPUTES = re.compile(
    r"^-|[\d!^<>|]|\\(?:[lr]?vert|[lr]?Vert|mid|[lr]floor|[lr]ceil|neg|not|ne|le|ge|approx|sim|simeq|equiv|in|notin)(?![A-Za-z])"
    r"|(?<![A-Za-z])(?:sqrt|exp|lg|ln|log|a?(?:rc)?(?:sin|cos|tan|cot|sec|csc)h?)(?![A-Za-z])"
)
_LENGTH = re.compile(r"\|[A-Z]{2}\|")
_LETTER = re.compile(
    r"\\text\{[^{}]*\}|\\(?:angle|triangle|overline|overrightarrow|vec|frac|cdot|times)(?![A-Za-z])"
    r"|(?P<name>(?:\\[A-Za-z]+|[A-Z]+|[a-z])(?:_\{[^{}]*\}|_\w)?(?:\([^()]*\))?)"
)
_ARGUMENTS = re.compile(r"\([^()]*\)|_\{[^{}]*\}|_\w")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SETS = re.compile(r"[<>]|\\(?:le|ge|cup|cap|setminus)(?![A-Za-z])")
_NOT_A_VALUE = re.compile(
    # Other relations than = < >; words within an expression; a base within one.
    r"\\(?:approx|sim|simeq|equiv|ne|text)(?![A-Za-z])|\d\s*_"
    # An operator or a function without its operand, numbers side by side.
    r"|^[*/^_=]|[-+*/^_=\\]$|\*\*|[\d.]\s+[\d.]|\}\s*\d"
    r"|\\(?:log|ln|sin|cos|tan|cot|sec|csc|sqrt|cdot|times|div)$|\\frac\s*\\frac"
)
_INFINITY = re.compile(r"\\infty(?![A-Za-z])")
_END_OF_A_RANGE = re.compile(r"(?:^|[,(\[<>=]|\\[lg]e )[-+]?\\infty(?=$|[,)\]<>=]|\\(?:le|ge|cup|cap)(?![A-Za-z]))")
_LOGARITHM = re.compile(r"\\log_(?:\w|\{[^{}]*\})")
_BEGINNING = re.compile(r"\\begin\{[A-Za-z]+\*?\}(?:\{[clr|]+\})?")
_QUESTION = re.compile(
    r"['\"`&]|\\(?:sum|prod|i*int|oint|lim|gcd|lcm|max|min|det|sup|inf|b?mod|pmod|arg|operatorname)(?![A-Za-z])"
)


def equal(gold: str, answer: str, same_value: Values) -> bool:
    """Compares an answer with the gold one.

    Args:
        gold: the right answer, LaTeX.
        answer: what somebody says it is, any string.
        same_value: called with two expressions where text, shape and rational numbers leave it open.

    Returns:
        Whether the answer is right. An empty one never is.
    """
    if answer.strip() and gold.strip() == answer.strip():
        return True
    right, said = spelling.plain(gold), spelling.plain(answer)
    if not right or not said:
        return False
    if not (shapes.balanced(right) and shapes.balanced(said)):
        return False
    if right == said:
        return True
    if scientific := _SCIENTIFIC.fullmatch(right):
        one, other = (shapes.read(_SCIENTIFIC.sub(_with_a_power_of_ten, text)) for text in (right, said))
        # With a sign it may also be a sum: 2e-1.
        if (same := _same(one, other, same_value)) or not scientific["sign"]:
            return same
    return _same(shapes.read(right), shapes.read(said), same_value)


def _with_a_power_of_ten(found: re.Match[str]) -> str:
    return rf"{found['digits']}\times10^{{{found['sign'].strip('+')}{found['exponent']}}}"


def _same(gold: Shape, answer: Shape, same_value: Values) -> bool:
    if isinstance(gold, Several) or isinstance(answer, Several):
        return _same_several(_items(gold), _items(answer), same_value)
    if isinstance(gold, Ordered) and isinstance(answer, Ordered):
        return (
            gold.brackets == answer.brackets
            and len(gold.items) == len(answer.items)
            and all(_same(one, other, same_value) for one, other in zip(gold.items, answer.items, strict=True))
        )
    if isinstance(gold, One) and isinstance(answer, One):
        return _same_one(gold.text, answer.text, same_value)
    # An interval may also be written as an inequality or as a union.
    whole = gold if isinstance(gold, One) else answer
    return bool(_SETS.search(whole.text)) and _same_value(gold.text, answer.text, same_value)


def _items(shape: Shape) -> tuple[Shape, ...]:
    return shape.items if isinstance(shape, Several) else (shape,)


def _same_several(gold: tuple[Shape, ...], answer: tuple[Shape, ...], same_value: Values) -> bool:
    """Each value of one is a value of the other, as often."""
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for one in gold:
        found = next((index for index, other in enumerate(left) if _same(one, other, same_value)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_one(gold: str, answer: str, same_value: Values) -> bool:
    if gold == answer:
        return True
    if (word := _word(gold)) is not None:
        said = _word(answer)
        # Letters without a space may be a product.
        if said is not None and not (_is_bare(gold) and _is_bare(answer)):
            return word.casefold() == said.casefold()
        return word == said
    if _BASED.fullmatch(gold) or _BASED.fullmatch(answer):
        return _based(gold) == _based(answer)
    equations = shapes.split(gold, "="), shapes.split(answer, "=")
    if max(map(len, equations)) > 1:
        return _same_equation(*equations, same_value)
    return _same_measure(units.split(gold), units.split(answer), same_value)


def _word(text: str) -> str | None:
    """The words of an answer that is words and no expression."""
    found = _WORDS.fullmatch(text)
    return " ".join((found[1] or found[2] or "").split()) if found else None


def _is_bare(text: str) -> bool:
    return text.isalpha()


def _based(text: str) -> tuple[str, int]:
    """Digits and base. The value does not count: asked to write 1358 in base 8, "1358" is no answer."""
    found = _BASED.fullmatch(text)
    digits, base = (found[1], int(found[2] or found[3])) if found else (text, 10)
    return digits.lstrip("0"), base


def _same_equation(gold: list[str], answer: list[str], same_value: Values) -> bool:
    """`x=5` says the value 5; `x+1=5` and `4=5` do not."""
    if len(gold) == 1:
        *before, last = answer
        steps = before[1:] if _names(before[0]) else before
        return all(_same_one(last, step, same_value) for step in steps) and _same_one(gold[0], last, same_value)
    if len(answer) == 1:
        return len(gold) == 2 and bool(_NAME.fullmatch(gold[0])) and _same_one(gold[1], answer[0], same_value)
    if len(gold) == len(answer) == 2 and _NAME.fullmatch(gold[0]) and gold[0] == answer[0]:
        return _same_one(gold[1], answer[1], same_value)
    has_unknown = re.search("[A-Za-z]", _COMMAND.sub("", "".join(answer)))
    return bool(has_unknown) and _same_value("=".join(gold), "=".join(answer), same_value)


def _names(text: str) -> bool:
    r"""Whether the left side of an equation names a value (`x`, `f(2)`, `m+n`) instead of computing with it (`2x`)."""
    bare = _LENGTH.sub("AB", _ARGUMENTS.sub("", text))
    if not re.search("[A-Za-z]", bare) or _COMPUTES.search(bare) or any(map(units.denies, _SAID.findall(text))):
        return False
    letters = [found["name"] for found in _LETTER.finditer(text) if found["name"]]
    return not re.search("[-+]", bare) or len(set(letters)) == len(letters)


def _same_measure(gold: units.Measured, answer: units.Measured, same_value: Values) -> bool:
    if units.clash(gold.unit, answer.unit):
        return False
    if _may_be_per_cent(gold, answer) and _same_value(gold.value, answer.value, same_value):
        return True
    # 50% is 50, in per cent, and it is a half.
    if (gold.unit == "%") == (answer.unit == "%"):
        return False
    one, other = (rf"\frac{{{side.value}}}{{100}}" if side.unit == "%" else side.value for side in (gold, answer))
    return _same_value(one, other, same_value)


def _may_be_per_cent(gold: units.Measured, answer: units.Measured) -> bool:
    """50 may be meant in per cent; one half is not half a per cent."""
    if gold.unit or answer.unit != "%":
        return True
    size = _number(gold.value)
    return abs(size) > 1 if size is not None else bool(_MIXED.match(gold.value))


def _same_value(gold: str, answer: str, same_value: Values) -> bool:
    if gold == answer:
        return True
    numbers = _number(gold), _number(answer)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if _word(answer) is not None or _is_no_value(gold) or _is_no_value(answer):
        return False
    # A problem copied into the box is no answer, though an algebra system can solve it; it also reads past some signs.
    if set(_QUESTION.findall(answer)) - set(_QUESTION.findall(gold)):
        return False
    return same_value(gold, answer)


def _is_no_value(text: str) -> bool:
    # Computing with ∞ is no arithmetic: sympy now and then finds 11 ∞ 9 equal to 119.
    infinite = len(_INFINITY.findall(text)) != len(_END_OF_A_RANGE.findall(text))
    # What stands first in a matrix is not beside the name of its brackets.
    bare = _BEGINNING.sub("", _LOGARITHM.sub(r"\\log", text))
    return infinite or bool(_NOT_A_VALUE.search(bare))


def _number(text: str) -> Fraction | None:
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    try:
        if found["over"]:
            return Fraction(int(found["sign"] + "1") * int(found["over"]), int(found["under"]))
        if found["period"]:
            return _repeating(found["whole"], len(found["start"]), found["period"])
        return Fraction(found["decimal"] or found["slash"])
    except ZeroDivisionError:
        return None


def _repeating(whole: str, places: int, period: str) -> Fraction:
    size = Fraction(whole + "0") if whole[-1] == "." else Fraction(whole)
    rest = Fraction(int(period), (10 ** len(period) - 1) * 10**places)
    return size - rest if whole[0] == "-" else size + rest
