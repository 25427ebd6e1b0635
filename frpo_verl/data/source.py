"""Where rows come from."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Row = dict[str, Any]


class Source(NamedTuple):
    """Where rows come from.

    Attributes:
        identity: tells whether it is the same as at another time; JSON.
        rows: the rows from a position on.
        total: how many rows there are, or None.
        size: bytes, or 0 where that is not known.
        place: for messages.
        connect: finds out whether rows can be had, where that takes a network.
    """

    identity: dict[str, Any]
    rows: Callable[[int], Iterator[Row]]
    total: int | None
    size: int
    place: str
    connect: Callable[[], Any] = lambda: None
