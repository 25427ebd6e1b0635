"""Reads gold answers from the columns of a source."""

import math
import re
from typing import Any

from frpo_verl.rewards.box import last_box


def plain(value: Any) -> str:
    r"""Returns an answer as LaTeX without delimiters, or nothing.

    A list holds several right answers, which are joined by commas. A text with `\boxed` counts for its last box.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(plain, value)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if r"\boxed" in text:
        text = (last_box(text, len(text)) or "").strip()
    if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text.strip("$"):
        text = text.strip("$").strip()
    return text


def whole_number(value: Any) -> str:
    """Returns an answer as `plain` does, and a whole number without the leading zeros that AIME writes."""
    text = plain(value)
    return str(int(text)) if re.fullmatch(r"-?[0-9]+", text) else text


def after_hashes(value: Any) -> str:
    """Returns the number after the `####` of a GSM8K solution, without commas between the thousands."""
    return plain(value).rpartition("####")[2].strip().replace(",", "")
