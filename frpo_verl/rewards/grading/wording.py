"""Objections to what math-verify's parser drops: a copied problem, denials, bases, the order and case of letters."""

import re

_TELLING = re.compile(
    r"\\(?:operatorname\*?\s*\{\s*)?(?:(sum|prod|oint|lim|gcd|lcm|max|min|det)|i*(int)|[bp]?(mod))(?![A-Za-z])"
    r"|\\begin\{(v)matrix|\\[dt]?frac\s*\{(?:\\mathrm\{)?(d)\}+\s*\{(?:\\mathrm\{)?d"
    r"|\b(not|isn't|wrong|incorrect)\b|\\n(e)(?:q|g)?(?![A-Za-z])|\\text[a-z]*\s*\{\s*(dozens?|half|halves|factorial"
    r"|squared|cubed|(?:hundred|thousand|million|billion)(?:s|ths)?|(?:plus|minus) [a-z]+|twenty[a-z -]*)\s*\}",
    re.IGNORECASE,
)
"""Operators that state a problem, denials, and words that change a number."""

_TEXT = re.compile(r"\\(?:text[a-z]*|math(?:rm|bf|it|sf)|mbox)\s*\{([^{}]*)\}")
_WORD = re.compile(r"[A-Z]{3,}|[A-Za-z][A-Za-z ]{3,}")
_BASED = re.compile(r"[\s$]*[0-9][0-9A-Z]*\s*_\s*(?:\{\D*(\d+)\D*\}|(\d))[\s$]*")
_LETTER = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_FORMULA = re.compile(r"[\d_^+*/-]|\\[A-Za-z]")


def objects(gold: str, answer: str) -> bool:
    """Compares the texts of the right answer and of one that math-verify accepts for it."""
    return (
        not _telling(answer) <= _telling(gold)
        or _base(gold) != _base(answer)
        or _says_other_words(gold, answer)
        or _has_other_letters(gold, answer)
    )


def _telling(text: str) -> set[str]:
    return {found[found.lastindex or 0].casefold() for found in _TELLING.finditer(text)}


def _base(text: str) -> int:
    found = _BASED.fullmatch(text)
    return int(found[1] or found[2]) if found else 10


def _says_other_words(gold: str, answer: str) -> bool:
    """Compares words: three capitals (HTH) or four letters are a word, not a product of letters in any order."""
    one, other = ([item.strip("$(){}. ") for item in _TEXT.sub(r"\1", text).split(",")] for text in (gold, answer))
    if not (all(map(_WORD.fullmatch, one)) and all(item.replace(" ", "").isalpha() for item in other)):
        return False
    return sorted(map(str.casefold, one)) != sorted(map(str.casefold, other))


def _has_other_letters(gold: str, answer: str) -> bool:
    """Compares letters: in a formula R is not r, which math-verify reads alike; a choice (C, Yes) may be either."""
    one, other = (_TEXT.sub("", text.rpartition("=")[2]) for text in (gold, answer))
    letters = set(_LETTER.findall(one)) if _FORMULA.search(one) else set()
    said = set(_LETTER.findall(other)) - letters
    return any(re.sub("[A-Za-z]", lambda letter: letter[0].swapcase(), name, count=1) in letters for name in said)
