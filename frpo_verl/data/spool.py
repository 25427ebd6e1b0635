"""What a conversion has done so far, in a file that a killed one goes on from.

The first line says what is converted. Each further one has how many rows are read and what was dropped, and a problem
that is kept, if one came with it. A line that a kill has torn is cut off.
"""

import fcntl
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from frpo_verl.data import dedup
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem

FORMAT = 2
HEARTBEAT = 10_000
"""After so many rows without a problem the position is written down too."""


class Spool:
    """The problems of one part that were read so far, in their order.

    Args:
        file: open for reading and appending bytes.
        header: what is converted, and from what; where the file is about something else it is emptied.
        unique: whether a problem is kept once only.

    Attributes:
        read: rows of the source that are done.
        kept: problems.
        dropped: rows that were left out, by reason.
        contradictory: keys of the problems that came with two answers.
        resumed: rows that an earlier process did.
    """

    def __init__(self, file: IO[bytes], header: dict[str, Any], *, unique: bool) -> None:
        self._file, self._unique, self._written = file, unique, 0
        self.read, self.kept = 0, 0
        self.dropped: dict[str, int] = {}
        self.contradictory: set[int] = set()
        self._answers: dict[int, int] = {}
        self._restore(_line({"format": FORMAT, **header}))
        self.resumed = self.read

    def add(self, problem: Problem | None, reason: str | None = None) -> None:
        """Takes the next row.

        Args:
            problem: of the row, or None where the row is of no concern.
            reason: why the problem is left out, or None.
        """
        self.read += 1
        extra: dict[str, Any] = {}
        if problem is not None and reason is None and self._unique:
            key, answer = _keys(problem)
            if self._answers.setdefault(key, answer) != answer and key not in self.contradictory:
                self.contradictory.add(key)
                extra = {"contradictory": key}
            # One key a problem that was kept, and one more if this one is new.
            reason = "duplicate" if len(self._answers) == self.kept else None
        if reason is not None:
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
        elif problem is not None:
            self.kept += 1
            extra = {"problem": problem}
        if extra or self.read - self._written >= HEARTBEAT:
            self._written = self.read
            self._file.write(_line({"read": self.read, "dropped": self.dropped, **extra}))

    def problems(self) -> Iterator[tuple[int, Problem]]:
        """What was kept.

        Yields:
            The row's number in the source, from 0, and its problem.
        """
        self._file.flush()
        self._file.seek(0)
        next(self._file)
        for line in self._file:
            record = json.loads(line)
            if "problem" in record:
                yield record["read"] - 1, Problem(*record["problem"])

    def _restore(self, header: bytes) -> None:
        self._file.seek(0)
        whole = len(header)
        if self._file.readline() != header:
            self._file.truncate(0)
            self._file.write(header)
            return
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            self._recall(json.loads(line))
        self._file.truncate(whole)

    def _recall(self, record: dict[str, Any]) -> None:
        self.read = self._written = record["read"]
        self.dropped = record["dropped"]
        if "contradictory" in record:
            self.contradictory.add(record["contradictory"])
        if "problem" in record:
            self.kept += 1
            if self._unique:
                key, answer = _keys(Problem(*record["problem"]))
                self._answers[key] = answer


@contextmanager
def opened(path: Path, header: dict[str, Any], *, unique: bool) -> Iterator[Spool]:
    """Opens the spool of a part for this process alone.

    Args:
        path: of the file; made if absent.
        header: what is converted, and from what.
        unique: whether a problem is kept once only.

    Yields:
        The spool, where an earlier process has left it.

    Raises:
        DataError: another process has it open.
    """
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{path}: another process is converting into it; wait for it, or choose another --output"
            ) from None
        yield Spool(file, header, unique=unique)


def _keys(problem: Problem) -> tuple[int, int]:
    return dedup.key(problem.text), zlib.crc32(problem.answer.encode())


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
