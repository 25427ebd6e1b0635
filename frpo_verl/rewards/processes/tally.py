"""Counts what may happen to every answer without a line in the log for each."""

import logging
import threading

_log = logging.getLogger(__name__)


class Tally:
    """Logs a count at the first, second, fourth, eighth time and so on.

    Args:
        what: the sentence after the count.
    """

    def __init__(self, what: str):
        self._what, self._count, self._lock = what, 0, threading.Lock()

    def add(self, detail: str = "") -> None:
        """Counts once more; `detail` ends the line."""
        with self._lock:
            self._count += 1
            count = self._count
        if count & (count - 1) == 0:
            _log.warning("frpo-verl: %d answer(s) %s%s", count, self._what, detail)
