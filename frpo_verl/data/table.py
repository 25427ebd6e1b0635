"""Reads and writes verl's parquet files, the manifest next to each, and the lock of their folder."""

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frpo_verl.data.catalogue import Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem
from frpo_verl.rewards.box import INSTRUCTION

ROW_GROUP = 10_000
"""Rows that are in memory at a time."""

Row = dict[str, Any]

_log = logging.getLogger(__name__)


def row(part: Part, index: int, problem: Problem) -> Row:
    """Makes a row in verl's RLHF schema, the same for every set: verl concatenates validation files."""
    return {
        "data_source": part.data_source,
        "prompt": [{"role": "user", "content": f"{problem.text} {INSTRUCTION}"}],
        "ability": "math" if problem.task is None else "reasoning",
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {
            "index": index,
            "split": part.split,
            "id": problem.id,
            "task": problem.task,
            "entry": problem.entry,
        },
    }


def question(row: Row) -> str:
    """Returns the problem's text that `row` put into the prompt."""
    return row["prompt"][-1]["content"].removesuffix(INSTRUCTION).rstrip()


def write(rows: Iterable[Row], path: Path) -> tuple[int, str]:
    """Writes a parquet file under another name, renames it when it is whole, and returns what `checksum` would."""
    import pyarrow
    import pyarrow.parquet

    schema, digest, count = _schema(), hashlib.sha256(), 0
    unfinished = _unfinished(path)
    try:
        with pyarrow.parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for group in _groups(rows):
                for each in group:
                    digest.update(_canonical(each))
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                count += len(group)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count, digest.hexdigest()


def read(path: Path) -> Iterator[Row]:
    """Yields the rows of a parquet file, some at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: the file is broken ({error}); remove it, and build that set again") from None


def checksum(path: Path) -> tuple[int, str] | None:
    """Counts and hashes the rows of a parquet file, None if it is broken.

    The hash is the SHA-256 of the rows as JSON lines (sorted keys, no white space, ASCII), so that neither row groups
    nor compression matter.
    """
    digest, count = hashlib.sha256(), 0
    try:
        for each in read(path):
            digest.update(_canonical(each))
            count += 1
    except DataError:
        return None
    return count, digest.hexdigest()


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest of the parquet file at `path`."""
    unfinished = _unfinished(_manifest(path))
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n")
    os.replace(unfinished, _manifest(path))


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Reads the manifest of the parquet file at `path`, None if one of the two is missing or the manifest not JSON."""
    if not path.is_file() or not _manifest(path).is_file():
        return None
    try:
        return json.loads(_manifest(path).read_text())
    except ValueError:
        return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until no other process uses the files of a folder, and makes others wait meanwhile. Cannot be nested."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("frpo-verl: waiting for another process that uses %s", folder)
        lock.acquire()
    except PermissionError as error:
        raise DataError(
            f"{folder / '.lock'}: cannot be opened for writing ({error.strerror}); ask its owner, or choose another "
            "--output"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _manifest(path: Path) -> Path:
    return path.with_suffix(".manifest.json")


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.writing")


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while group := list(itertools.islice(rows, ROW_GROUP)):
        yield group


def _canonical(each: Row) -> bytes:
    return json.dumps(each, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _schema() -> Any:
    import pyarrow

    text = pyarrow.string()
    return pyarrow.schema(
        {
            "data_source": text,
            "prompt": pyarrow.list_(pyarrow.struct({"role": text, "content": text})),
            "ability": text,
            "reward_model": pyarrow.struct({"style": text, "ground_truth": text}),
            "extra_info": pyarrow.struct(
                {"index": pyarrow.int64(), "split": text, "id": text, "task": text, "entry": text}
            ),
        }
    )
