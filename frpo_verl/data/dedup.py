r"""Recognises problems that are the same.

Differences of typesetting and punctuation do not count: white space, the case of words, `$`, `\(`, `\[`, spaces of
LaTeX, `\left` and `\right`, `\dfrac`, full stops and quotation marks. Differences of mathematics do: operators,
brackets, primes, exponents, the ends of a matrix' rows, the case of single letters and of LaTeX's commands, and
whatever stands between two digits, even a space.
"""

import functools
import hashlib
import re
import unicodedata

_SUPERSCRIPT = re.compile("[\u00b2\u00b3\u00b9\u2070\u2071\u2074-\u207f]+")
_SUBSCRIPT = re.compile("[\u2080-\u208e\u2090-\u209c]+")
_PRIMES = str.maketrans(dict.fromkeys("\u2018\u2019\u2032", "'"))
# Those of LaTeX by their opening marks: alone, the closing ones are primes.
_QUOTED = re.compile(r"``([^`]*?)''|`([^`']*)'")
_MARKS = re.compile(r"[?\"`“”、。]")
_THOUSANDS = re.compile(r"(?<=[0-9])\\,(?=[0-9]{3}(?![0-9]))")
# A line's end first: the bracket behind `\\\\` is no delimiter.
_TYPESETTING = re.compile(
    r"(\\\\)|\\(?:left|right|displaystyle|textstyle|q?quad|thinspace|[bB]igg?)(?![a-zA-Z])|\\[\[\]()!,;:> ]|[$~]"
)
_FRACTION = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_LETTER = r"[^\W\d_]"
_BETWEEN_LETTERS = re.compile(rf"(?<=(?<!{_LETTER}){_LETTER})\s+(?={_LETTER}(?!{_LETTER}))")
_WORD = re.compile(rf"\\\\|\\[a-zA-Z]+|({_LETTER}{{2,}})")
_NO_WHOLE_PART = re.compile(r"(?<![\w)\]}.])\.(?=[0-9])")
_SPACE = re.compile(r"(?<![0-9]) | (?![0-9])")
_PUNCTUATION = re.compile(r"(?<![0-9.,;:])[.,;:]+|(?<![.,;:])[.,;:]+(?![0-9.,;:])")


def normalise(problem: str) -> str:
    """Removes from a problem's text what does not change the problem; the result is for comparing, not for reading."""
    # Before NFKC, which makes plain digits of them.
    text = _SUBSCRIPT.sub(r"_{\g<0>}", _SUPERSCRIPT.sub(r"^{\g<0>}", problem))
    text = unicodedata.normalize("NFKC", text).translate(_PRIMES)
    text = _MARKS.sub(" ", _QUOTED.sub(r" \1\2 ", text))
    text = _TYPESETTING.sub(r" \1 ", _THOUSANDS.sub("", text))
    text = _BETWEEN_LETTERS.sub("", _FRACTION.sub(r"\\frac", text))
    text = _WORD.sub(lambda word: word[0].casefold() if word[1] else word[0], text)
    # Of several spaces in a row one stays: each is then next to what it separates.
    text = _SPACE.sub("", " ".join(_NO_WHOLE_PART.sub("0.", text).split()))
    return _PUNCTUATION.sub("", text)


@functools.lru_cache(1 << 16)
def key(problem: str) -> int:
    """Returns a hash of the normalised text, the same in every process.

    64 bits: among a million different problems, two share a key with probability 3e-8.
    """
    digest = hashlib.blake2b(normalise(problem).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Seen:
    """Remembers problems, to find those that come again and those that come with two answers."""

    def __init__(self) -> None:
        self._answers: dict[int, str] = {}
        self._contradictory: set[int] = set()

    def again(self, problem: str, answer: str) -> bool:
        """Remembers a problem, and returns True if it came before."""
        number = key(problem)
        if number not in self._answers:
            self._answers[number] = answer
            return False
        if self._answers[number] != answer:
            self._contradictory.add(number)
        return True

    def contradictory(self, problem: str) -> bool:
        """Returns True if the problem came with two answers."""
        return bool(self._contradictory) and key(problem) in self._contradictory
