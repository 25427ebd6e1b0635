r"""One spelling for the many ways to write the same LaTeX, so that less is left to algebra.

Nothing here changes what an answer says.
"""

import re

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_CHARACTERS = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{NO-BREAK SPACE}": " ",
        "\n": " ",
        "\t": " ",
        "~": " ",
        "π": r"\pi ",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "λ": r"\lambda ",
        "∞": r"\infty ",
        "°": r"^\circ ",
        "×": r"\times ",
        "·": r"\cdot ",
        "÷": r"\div ",
        "±": r"\pm ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
    }
)

_WORDS = r"text|textbf|textit|textrm|textnormal|textsf|mathrm|mathbf|mathit|mathsf|mbox|hbox"
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}"
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Space between the rows of a matrix, and an end of the last one.
        (r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]", r"\\\\ "),
        (r"\\\\\s*(?=\\end(?![A-Za-z]))", " "),
        (r"√\s*(\d+)", r"\\sqrt{\1}"),
        (r"(?<!\\)\$|(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:left|right|displaystyle|textstyle|limits|[bB]igg?[lr]?)(?![A-Za-z])", ""),
        # Signs between the thousands, all but the plain comma, which also separates.
        (r"(?<=\d)(?:,\\!|\\,|\{,\}|\\!)\s*(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\!", ""),
        (r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\\pi|\b[A-Za-z])\s*([A-Za-z0-9])(?![A-Za-z0-9])", r"\\frac{\1}{\2}"),
        (rf"\\frac\s*({_GROUP})\s*(\d)(?!\d)", r"\\frac\1{\2}"),
        (rf"\\frac\s*(\d)\s*({_GROUP})", r"\\frac{\1}\2"),
        (rf"\\(?:{_WORDS})\s*\{{([^{{}}\\]*)\}}", r"\\text{\1}"),
        (r"\\(?:mathrm|mathbf|mathit|mathsf|boldsymbol|textbf|textit)\s*(?=\{)", ""),
        (r"\\text\{([^A-Za-z]*)\}", r"\1"),
        (r"\\text\{\s*([A-Za-z])\s*\}|\\text\{\s*(\([A-Za-z]\))\s*\}", r"\1\2"),
        (r"\\text\{\s*(?:percent|per cent|pct)\s*\}|\\%|(?<=\d)\s*percent\b", "%"),
        (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])|\\degree(?![A-Za-z])", r"^\\circ "),
        (r"\\leq(?:slant)?(?![A-Za-z])|<=", r"\\le "),
        (r"\\geq(?:slant)?(?![A-Za-z])|>=", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
    )
)
# Words in \text{} may well have an "and" of their own.
_CONJUNCTION = re.compile(
    r"(?P<words>\\text\{(?!\s*,?\s*(?:or|and)\s*\})[^{}]*\})"
    r"|(?:,\s*)?(?:\\text\{\s*,?\s*(?:or|and)\s*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z]))"
)
_THOUSANDS = re.compile(r"([-+]?\s*(?:\\\$\s*)?)(\d{1,3}(?:,\d{3})+)(?![\d,])(?!.*[,;])")
_LOOSE_SPACE = re.compile(r"(?<![A-Za-z0-9.])\s+|\s+(?![A-Za-z0-9.])")


def plain(text: str) -> str | None:
    """Respells an answer.

    Args:
        text: LaTeX, any string.

    Returns:
        The same answer, or None if it has characters that are not known to mean something: a look-alike is no answer.
    """
    text = re.sub(f"[{_SUPERSCRIPTS}]+", _power, text).translate(_CHARACTERS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _CONJUNCTION.sub(lambda found: found["words"] or ",", text)
    if not text.isascii() or not text.isprintable():
        return None
    if thousands := _THOUSANDS.match(text.strip()):
        text = thousands[1] + thousands[2].replace(",", "") + text.strip()[thousands.end() :]
    return _LOOSE_SPACE.sub("", text.strip()).rstrip(" .")


def _power(digits: re.Match[str]) -> str:
    return "^{" + "".join(str(_SUPERSCRIPTS.index(digit)) for digit in digits[0]) + "}"
