"""The folder next to an unfinished file, in which samples and scores survive a kill."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.offline.errors import OfflineError
from frpo_verl.trainers import sampling


class Place(NamedTuple):
    """Says where a line stands."""

    file: Path
    offset: int


class Work:
    """Holds samples (`part-K.jsonl`) and scores (`scores.jsonl`); made by `opened`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[int, Place] = {}

    @property
    def scores(self) -> Path:
        """Returns the file of scores."""
        return self.folder / "scores.jsonl"

    def agree(self, name: str, settings: dict[str, Any]) -> list[str]:
        """Keeps settings at the first time; later returns the names of those that are others now."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(settings, indent=2))
            partial.replace(file)
        return differences(json.loads(file.read_text()), settings)

    def agree_or_clear(self, name: str, settings: dict[str, Any], file: Path) -> None:
        """Removes a file that other settings made."""
        if self.agree(name, settings):
            file.unlink(missing_ok=True)
            (self.folder / f"{name}.json").unlink()
            self.agree(name, settings)

    def places(self) -> dict[int, Place]:
        """Finds the sampled lines, by their rows."""
        for file in sorted(self.folder.glob("part-*.jsonl")):
            sampling.mend(file)
            offset = 0
            with file.open("rb") as lines:
                for line in lines:
                    self._places.setdefault(json.loads(line)["row"], Place(file, offset))
                    offset += len(line)
        return self._places

    def lines(self, rows: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yields the sampled lines of these rows, which `places` has found."""
        with contextlib.ExitStack() as stack:
            files = {place.file for place in self._places.values()}
            opened = {file: stack.enter_context(file.open("rb")) for file in files}
            for row in rows:
                file, offset = self._places[row]
                opened[file].seek(offset)
                yield json.loads(opened[file].readline())

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names the settings that are not the same, each with both values where these are short."""
    now = json.loads(json.dumps(now))
    found = []
    for key in sorted(set(there) | set(now)):
        before, after = there.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after)
        elif before != after:
            both = f"{key}={before}, now {after}"
            found.append(both if len(both) < 80 else key)
    return found


@contextlib.contextmanager
def opened(out: Path) -> Iterator[Work]:
    """Opens the folder of a file, for one process at a time. Raises OfflineError where another has it."""
    folder = out.with_name(f"{out.name}.work")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OfflineError(f"{out}: another process is making it; wait for that, or give another name") from None
        yield Work(folder)
