"""A little LaTeX arithmetic over the rationals that shares nothing with the rewards: it proves a verdict."""

import math
import random
import re
from fractions import Fraction

_TOKEN = re.compile(r"\s*(\d+\.\d*|\.\d+|\d+|\\[A-Za-z]+|[A-Za-z]|[-+*/^!(){}\[\]])")
_UNIT = re.compile(
    r"(\^\s*\{?\s*\\circ\s*\}?|\\(?:text|mbox|mathrm)\s*\{[A-Za-z .]*\}(\^\{?\d\}?)?|(?<=\d) (?:cm|in|dollars))$"
)


class NoValue(Exception):
    """This arithmetic cannot read it."""


def values(text: str) -> set[Fraction]:
    """The values that an answer of one number may say; letters are drawn at random, so that only identities hold.

    Args:
        text: LaTeX of an answer.

    Returns:
        One value, or two for an answer in per cent.

    Raises:
        NoValue: it is no arithmetic.
    """
    text = re.sub(r"(?<=\d),\\!\s*(?=\d{3})", "", text)
    text = re.sub(r"\\(?:left|right|[!,;:]|displaystyle)|\\? |\$|\\\$", " ", text).strip().rstrip(" .")
    text = re.sub(r"^[A-Za-z]\s*=|\{,\}|(?<=\d),(?=\d{3})|\\\$", "", text)
    text = (
        text.replace(r"\dfrac", r"\frac").replace("\N{MINUS SIGN}", "-").replace("\N{GREEK SMALL LETTER PI}", r"\pi ")
    )
    percent = re.search(r"\\?%\s*$", text)
    text = _UNIT.sub("", text[: percent.start()] if percent else text).strip()
    value = _Reader(text).all()
    return {value, value / 100} if percent else {value}


class _Reader:
    def __init__(self, text):
        self.tokens, at = [], 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if not found:
                raise NoValue(text)
            self.tokens.append(found[1])
            at = found.end()
        self.at = 0

    def all(self):
        value = self.sum()
        if self.at != len(self.tokens):
            raise NoValue(self.tokens)
        return value

    def next(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected):
        token = self.next()
        if expected and token not in expected or not token:
            raise NoValue(self.tokens)
        self.at += 1
        return token

    def sum(self):
        value = self.product()
        while self.next() in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self):
        value, before = self.factor(), self.tokens[self.at - 1]
        while (token := self.next()) and token not in "+-)}]":
            if token in ("*", r"\cdot", r"\times"):
                self.take()
                value *= self.factor()
            elif token in ("/", r"\div"):
                self.take()
                value /= self._nonzero(self.factor())
            elif token == r"\frac" and before.isdigit():
                value += self.factor()
            elif before[-1].isdigit() and token[0].isdigit():
                raise NoValue(self.tokens)
            else:
                value *= self.factor()
            before = self.tokens[self.at - 1]
        return value

    def factor(self):
        if self.next() in ("+", "-"):
            return self.factor() if self.take() == "+" else -self.factor()
        value = self.atom()
        while self.next() in ("^", "!"):
            if self.take() == "^":
                value = self._power(value, self.atom())
            else:
                value = self._factorial(value)
        return value

    def atom(self):
        token = self.take()
        if token == r"\frac":
            over = self.atom()
            return over / self._nonzero(self.atom())
        if token == r"\sqrt":
            return self._root(self.atom())
        if token in ("(", "{"):
            value = self.sum()
            self.take({"(": ")", "{": "}"}[token])
            return value
        if token[0].isdigit() or token[0] == ".":
            return Fraction(token)
        if re.fullmatch(r"[A-Za-z]|\\pi", token):
            return Fraction(random.Random(token).randint(10**9, 10**10), 7919)
        raise NoValue(token)

    def _nonzero(self, value):
        if value == 0:
            raise NoValue("division by zero")
        return value

    def _power(self, base, exponent):
        if exponent.denominator != 1 or abs(exponent) > 64 or (base == 0 and exponent <= 0):
            raise NoValue("power")
        return base ** int(exponent)

    def _factorial(self, value):
        if value.denominator != 1 or not 0 <= value <= 64:
            raise NoValue("factorial")
        return Fraction(math.factorial(int(value)))

    def _root(self, value):
        if value < 0:
            raise NoValue("root")
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root * root == value:
            return root
        # A root that stays one: as good as another letter.
        return Fraction(random.Random(f"root of {value}").randint(10**9, 10**10), 7919)
