"""One mistake."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """In `file` of the package, the only place where `right` stands says `wrong`."""

    file: str
    right: str
    wrong: str
