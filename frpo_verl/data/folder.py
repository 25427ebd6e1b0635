"""A folder of parquet files, for one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frpo_verl.data.errors import DataError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until no other process looks at what is in a folder, or changes it, and keeps them waiting meanwhile.

    Not to be nested: a process waits for itself too.

    Args:
        folder: with parquet files and their manifests.

    Yields:
        None.

    Raises:
        DataError: the lock's file belongs to someone else.
    """
    path = folder / ".lock"
    try:
        file = path.open("ab")
    except PermissionError as error:
        raise DataError(
            f"{path}: cannot be opened for writing ({error.strerror}); ask its owner, or choose another --output"
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
