"""A problem, and how one is read from a row of a source."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from frpo_verl.data import gold
from frpo_verl.data.errors import DataError


class Problem(NamedTuple):
    """A problem with its answer.

    Attributes:
        text: what is asked.
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


class Columns(NamedTuple):
    """Where a row has what; of several names the first one that the row has counts, whatever its case.

    Attributes:
        text: names of the problem's column; a dot steps into a struct.
        answer: names of the answer's column.
        id: names of the identifier's column, which may be missing.
        read_text: makes the problem's text of the column's value.
        read_answer: makes the answer of the column's value.
    """

    text: tuple[str, ...] = ("problem", "question")
    answer: tuple[str, ...] = ("answer",)
    id: tuple[str, ...] = ("unique_id", "id")
    read_text: Callable[[Any, Mapping[str, Any]], str] = lambda value, row: str(value or "")
    read_answer: Callable[[Any], str] = gold.plain


def read(row: Mapping[str, Any], columns: Columns, where: str) -> Problem:
    """Reads a row.

    Args:
        row: what the source has.
        columns: where it stands.
        where: the row, for messages.

    Returns:
        The problem.

    Raises:
        DataError: a column is missing, or what stands there is empty.
    """
    text = columns.read_text(_value(row, columns.text, "problem", where), row).strip()
    answer = columns.read_answer(_value(row, columns.answer, "answer", where))
    for name, value in (("problem", text), ("answer", answer)):
        if not value:
            raise DataError(f"{where}: the {name} is empty; fill it in, or take the row out")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataError(f"{where}: the {name} has half a character (a lone surrogate); mend it")
    found = next((value for name in columns.id if (value := _look(row, name)) is not None), "")
    return Problem(text, answer, str(found))


def _value(row: Mapping[str, Any], names: tuple[str, ...], what: str, where: str) -> Any:
    present = False
    for name in names:
        value = _look(row, name)
        if value is not None:
            return value
        present = present or _has(row, name)
    if present:
        return None
    raise DataError(
        f"{where}: there is no column {' or '.join(names)} with the {what}; its columns are "
        f"{', '.join(map(str, row)) or 'none'}; rename the one that has it to {names[0].partition('.')[0]}"
    )


def _look(row: Any, name: str) -> Any:
    for step in name.split("."):
        if not isinstance(row, Mapping):
            return None
        row = next((row[column] for column in row if str(column).lower() == step), None)
    return row


def _has(row: Mapping[str, Any], name: str) -> bool:
    return any(str(column).lower() == name for column in row)
