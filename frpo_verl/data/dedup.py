r"""When two problems are the same one.

What is typeset or punctuated differently is the same: white space, case, `$`, `\(`, `\[`, spaces of LaTeX, `\left` and
`\right`, `\dfrac`, full stops and quotation marks. What changes the mathematics is kept: operators, brackets, and a
point or a comma between two digits.
"""

import hashlib
import re
import unicodedata

# A line's end first: the bracket behind `\\\\` is no delimiter.
_TYPESETTING = re.compile(
    r"\\\\|\\(?:left|right|displaystyle|textstyle|q?quad|thinspace|[bB]igg?)(?![a-zA-Z])|\\[\[\]()!,;:> ]|[$~]"
)
_SPACE = re.compile(r"\s+")
_FRACTION = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_PUNCTUATION = re.compile(r"(?<![0-9])[.,;:]|[.,;:](?![0-9])|[?\"'`‘’“”、。，；：？]")


def normalise(problem: str) -> str:
    """The text of a problem without what does not change it.

    Args:
        problem: its text.

    Returns:
        A text for comparing, not for reading.
    """
    text = _TYPESETTING.sub(" ", unicodedata.normalize("NFKC", problem))
    text = _SPACE.sub("", _FRACTION.sub(r"\\frac", text)).casefold()
    return _PUNCTUATION.sub("", text)


def key(problem: str) -> int:
    """A number for a problem; equal for equal problems.

    64 bits: among a million different problems, two share a number with probability 3e-8.

    Args:
        problem: its text.

    Returns:
        A hash of the normalised text, the same in every process.
    """
    digest = hashlib.blake2b(normalise(problem).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
