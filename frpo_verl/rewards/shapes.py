r"""What an answer is made of: one value, several in any order, or some in an order between brackets."""

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias


class One(NamedTuple):
    """A value: a number, an expression, a relation, a word, a union of intervals."""

    text: str


class Several(NamedTuple):
    """Values in any order: a list, a set, or what ± stands for."""

    text: str
    items: tuple["Shape", ...]


class Ordered(NamedTuple):
    """Values in an order: a point, an interval, a ratio. The brackets belong to the answer."""

    text: str
    brackets: str
    items: tuple["Shape", ...]


Shape: TypeAlias = One | Several | Ordered

_CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_TOKEN = re.compile(r"\\[{}]|\\[A-Za-z]+|\\.|.", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z]\\in(?![A-Za-z])|(?:[A-Za-z]|\((?:[A-Za-z],)+[A-Za-z]\))=")
_EITHER_SIGN = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")


def read(text: str) -> Shape:
    """Takes an answer apart.

    Args:
        text: an answer as `spelling.plain` writes it.

    Returns:
        Its shape. Brackets around a single value are dropped, but for square ones.
    """
    text = text.strip()
    if len(pieces := split(text, ",;")) > 1:
        return Several(text, tuple(item for piece in pieces for item in _alternatives(read(piece))))
    brackets, inner = _enclosed(text)
    if brackets == r"\{\}":
        return Several(text, tuple(item for piece in split(inner, ",;") for item in _alternatives(read(piece))))
    if brackets == "{}":
        return read(inner)
    if brackets:
        pieces = split(inner, ",;")
        if len(pieces) == 1 and brackets == "()":
            return read(inner)
        return Ordered(text, brackets, tuple(map(read, pieces)))
    if (label := _LABEL.match(text)) and not isinstance(labelled := read(text[label.end() :]), One):
        return labelled
    if len(pieces := split(text, ":")) > 1:
        return Ordered(text, ":", tuple(map(read, pieces)))
    if _EITHER_SIGN.search(text):
        return Several(text, (One(_with_signs(text, "+", "-")), One(_with_signs(text, "-", "+"))))
    return One(text)


def split(text: str, separators: str) -> list[str]:
    """Cuts a text at separators that stand in no bracket.

    Args:
        text: LaTeX.
        separators: characters.

    Returns:
        The pieces, one if there is no separator.
    """
    pieces, depth = [""], 0
    for token in _TOKEN.findall(text):
        depth += (token in ("(", "[", "{", r"\{")) - (token in (")", "]", "}", r"\}"))
        if depth == 0 and token in separators:
            pieces.append("")
        else:
            pieces[-1] += token
    return pieces


def balanced(text: str) -> bool:
    """Whether every bracket is closed, by whichever bracket: an interval's ends may differ.

    Args:
        text: LaTeX.

    Returns:
        True if so.
    """
    depths = [0, *_depths(_TOKEN.findall(text))]
    return min(depths) == depths[-1] == 0


def _alternatives(shape: Shape) -> tuple[Shape, ...]:
    """What ± stands for belongs to the list that it is in; a set in a set stays one."""
    return shape.items if isinstance(shape, Several) and _EITHER_SIGN.search(shape.text) else (shape,)


def _enclosed(text: str) -> tuple[str, str]:
    """The pair of brackets around the whole text, and what is in it; an interval's may differ."""
    tokens = _TOKEN.findall(text)
    if len(tokens) < 3 or tokens[0] not in _CLOSING or tokens[-1] not in _CLOSING.values():
        return "", text
    if any(depth <= 0 for depth in _depths(tokens[:-1])):
        return "", text
    brackets = tokens[0] + tokens[-1]
    if brackets in ("()", "[]", "(]", "[)", "{}", r"\{\}"):
        return brackets, "".join(tokens[1:-1])
    return "", text


def _depths(tokens: list[str]) -> Iterator[int]:
    depth = 0
    for token in tokens:
        depth += (token in _CLOSING) - (token in _CLOSING.values())
        yield depth


def _with_signs(text: str, plus_minus: str, minus_plus: str) -> str:
    return _EITHER_SIGN.sub(lambda found: plus_minus if found[0] == r"\pm" else minus_plus, text)
