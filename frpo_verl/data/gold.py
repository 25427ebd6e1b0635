"""Gold answers as text, from what the sources keep in their columns."""

import math
import re
from typing import Any

from frpo_verl.rewards import box


def plain(value: Any) -> str:
    r"""An answer as LaTeX without delimiters.

    Args:
        value: a text, a number, or a list of them (several right answers, joined by commas); of a text with `\boxed{}`
            the last box counts.

    Returns:
        The answer; empty if there is none.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(plain, value)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if r"\boxed" in text:
        text = (box.last_box(text, longest=len(text)) or "").strip()
    if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text.strip("$"):
        text = text.strip("$").strip()
    return text


def whole_number(value: Any) -> str:
    """An answer that is a whole number, without the zeros that AIME writes in front.

    Args:
        value: as for `plain`.

    Returns:
        The number; what `plain` gives if it is none.
    """
    text = plain(value)
    return str(int(text)) if re.fullmatch(r"-?[0-9]+", text) else text


def after_hashes(value: Any) -> str:
    """The number behind the `####` of a GSM8K solution, without commas between the thousands.

    Args:
        value: the solution, or the number alone.

    Returns:
        The number.
    """
    return plain(value).rpartition("####")[2].strip().replace(",", "")
