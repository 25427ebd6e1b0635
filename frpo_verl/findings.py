"""Collects what is wrong with rows: one sentence for each kind of mistake in a file."""

from pathlib import Path
from typing import NamedTuple


class Mistake(NamedTuple):
    """Says what is wrong with a column of a row, and the fix, by which mistakes are of one kind."""

    column: str
    what: str
    fix: str


class Findings:
    """Keeps the first mistake of each kind in a file, and how many rows have it."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, str, str], list] = {}

    def add(self, file: Path, place: str, mistake: Mistake) -> None:
        """Adds a mistake; `place` is for instance `row 3`."""
        entry = self._found.setdefault((file, mistake.column, mistake.fix), [place, mistake.what, 0])
        entry[2] += 1

    def sentences(self) -> list[str]:
        """Returns a sentence for each kind."""
        return [
            f"{file}, {place}{_more(count)}, column {column}: {what}; {fix}"
            for (file, column, fix), (place, what, count) in self._found.items()
        ]


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
