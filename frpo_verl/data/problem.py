"""Describes a problem and reads it from a row of a source."""

import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from frpo_verl.data import gold
from frpo_verl.data.errors import DataError

_EXACT = 2**53
"""Up to here a float keeps every digit of a whole number; readers of JSON silently round longer ones."""


class Problem(NamedTuple):
    """A problem with its answer.

    Attributes:
        text: the question.
        answer: LaTeX without delimiters; empty where a verifier needs none.
        id: the source's own name for it, or empty.
        task: reasoning-gym's name of the task, or None.
        entry: reasoning-gym's entry as JSON, or None.
    """

    text: str
    answer: str
    id: str = ""
    task: str | None = None
    entry: str | None = None


class Source(NamedTuple):
    """Problems that are not read yet.

    Attributes:
        place: names the source in messages.
        identity: JSON that stays equal while the rows stay the same.
        problems: reads one problem per row, None for a row that belongs to another part of the set.
    """

    place: str
    identity: dict[str, Any]
    problems: Callable[[], Iterator[Problem | None]]


class Columns(NamedTuple):
    """Names the columns of a row's parts; the first of several that the row has counts, in any case of letters.

    Attributes:
        text: names of the problem's column; a dot steps into a struct.
        answer: names of the answer's column.
        id: names of the identifier's column, which may be missing.
        read_text: turns the column's value into the problem's text.
        read_answer: turns the column's value into the answer.
    """

    text: tuple[str, ...] = ("problem", "question")
    answer: tuple[str, ...] = ("answer",)
    id: tuple[str, ...] = ("unique_id", "id")
    read_text: Callable[[Any, Mapping[str, Any]], str] = lambda value, row: str(value or "")
    read_answer: Callable[[Any], str] = gold.plain


def read(row: Mapping[str, Any], columns: Columns, where: str) -> Problem:
    """Reads a row; `where` names it in a DataError if a column is missing, empty or damaged."""
    asked, raw = _value(row, columns.text, "problem", where), _value(row, columns.answer, "answer", where)
    # What reads the texts of one source knows their structure.
    of_one_source = columns.read_text is not Columns().read_text
    for name, value in (("answer", raw), *([] if of_one_source else [("problem", asked)])):
        if not _is_plain(value):
            raise DataError(f"{where}: the {name} is {value!r:.100}, not a text or a number; write it as one")
    text = columns.read_text(asked, row).strip()
    if isinstance(raw, float) and abs(raw) >= _EXACT:
        raise DataError(f"{where}: the answer {raw:g} has lost digits as a number; write it as text, in quotes")
    answer = columns.read_answer(raw)
    for name, value in (("problem", text), ("answer", answer)):
        if not value:
            raise DataError(f"{where}: the {name} is empty; fill it in, or remove the row")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataError(f"{where}: the {name} has half a character (a lone surrogate); correct it")
    found = next((value for name in columns.id if (value := _look(row, name)) is not None), "")
    return Problem(text, answer, str(found))


def _is_plain(value: Any) -> bool:
    """Returns True for a text, a number, nothing, and lists of these, which hold several right answers."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | numbers.Number)


def _value(row: Mapping[str, Any], names: tuple[str, ...], what: str, where: str) -> Any:
    for name in names:
        if (value := _look(row, name)) is not None:
            return value
    if any(str(column).lower() in names for column in row):
        return None
    raise DataError(
        f"{where}: there is no column {' or '.join(names)} with the {what}; its columns are "
        f"{', '.join(map(str, row)) or 'none'}; rename the right one to {names[0].partition('.')[0]}"
    )


def _look(row: Any, name: str) -> Any:
    for step in name.split("."):
        if not isinstance(row, Mapping):
            return None
        row = next((row[column] for column in row if str(column).lower() == step), None)
    return row
