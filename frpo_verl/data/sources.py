"""Rows of a local file, of a folder laid out like a repository of the hub, or of the hub itself, one after another."""

import csv
import gzip
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.data.catalogue import Hub, Part
from frpo_verl.data.errors import DataError

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")

Row = dict[str, Any]


class Source(NamedTuple):
    """Where rows come from.

    Attributes:
        identity: tells whether it is the same as at another time; JSON.
        rows: the rows from a position on.
        total: how many rows there are, or None.
        size: bytes, or 0 where that is not known.
        place: for messages.
    """

    identity: dict[str, Any]
    rows: Callable[[int], Iterator[Row]]
    total: int | None
    size: int
    place: str


def find(part: Part, source: str | None) -> Source:
    """Opens where a part is to be read from.

    Args:
        part: what is to be read.
        source: a file, a folder, or a repository of the hub; None for the part's own repository.

    Returns:
        The source; nothing but its first bytes is read yet.

    Raises:
        DataError: it is not there, or of a kind that cannot be read.
    """
    if source is None:
        return _hub(part, part.hubs[0])
    path = Path(source).expanduser()
    if path.is_file():
        return _file(part, path)
    if path.is_dir():
        return _hub(part, part.hubs[0]._replace(repository=str(path.resolve())))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not _suffix(path):
        own = (hub for hub in part.hubs if hub.repository.lower() == source.lower())
        return _hub(part, next(own, Hub(source, None, part.split)))
    raise DataError(
        f"--source {source}: there is no such file; give a {', '.join(FORMATS)} file, a folder with a clone of "
        f"{part.hubs[0].repository}, or the hub's owner/name"
    )


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), "")


def _file(part: Part, path: Path) -> Source:
    suffix, packed = _suffix(path), path.name.lower().endswith(".gz")
    if not suffix or (packed and suffix == ".parquet"):
        raise DataError(
            f"--source {path}: files of this kind cannot be read; give one of {', '.join(FORMATS)} (also packed, .gz)"
        )
    stat = path.stat()
    if stat.st_size == 0:
        raise DataError(f"--source {path}: the file is empty; download it again from {_address(part.hubs[0])}")
    identity = {"file": str(path.resolve()), "bytes": stat.st_size, "changed": stat.st_mtime_ns}
    if suffix == ".parquet":
        total = _parquet(path).metadata.num_rows
        return Source(identity, lambda start: _parquet_rows(path, start), total, stat.st_size, str(path))
    if suffix == ".json" and _is_array(path):
        array = _array(path)
        return Source(identity, lambda start: iter(array[start:]), len(array), stat.st_size, str(path))
    read = _table_rows if suffix in (".csv", ".tsv") else _json_lines
    # Only an estimate: cells of a table and empty lines hold line ends too.
    total = None if packed else _line_ends(path)
    return Source(identity, lambda start: read(path, start), total, stat.st_size, str(path))


def _open(path: Path) -> io.TextIOBase:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _line_ends(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _json_lines(path: Path, start: int) -> Iterator[Row]:
    try:
        with _open(path) as file:
            lines = ((number, line) for number, line in enumerate(file, 1) if not line.isspace())
            for number, line in itertools.islice(lines, start, None):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{path}, line {number}: not JSON ({error}); mend it, or take it out") from None
                if not isinstance(row, dict):
                    raise DataError(
                        f"{path}, line {number}: a JSON {type(row).__name__} where an object with columns should be; "
                        "write one object a line"
                    )
                yield row
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not UTF-8 text, or cut off ({error}); download it again") from None


def _table_rows(path: Path, start: int) -> Iterator[Row]:
    delimiter = "\t" if _suffix(path) == ".tsv" else ","
    try:
        with _open(path) as file:
            yield from itertools.islice(csv.DictReader(file, delimiter=delimiter), start, None)
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 text, or cut off ({error}); download it again") from None


def _is_array(path: Path) -> bool:
    try:
        with _open(path) as file:
            return file.read(1 << 16).lstrip().startswith("[")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not UTF-8 text, or cut off ({error}); download it again") from None


def _array(path: Path) -> list[Row]:
    """All of an array; where memory counts, a file with one object a line is read row by row."""
    with _open(path) as file:
        try:
            rows = json.load(file)
        except ValueError as error:
            raise DataError(f"{path}: not a JSON array ({error}); mend it, or download it again") from None
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: not every element of the array is an object with columns; mend it")
    return rows


def _parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a parquet file, or cut off ({error}); download it again") from None


def _parquet_rows(path: Path, start: int) -> Iterator[Row]:
    with _parquet(path) as file:
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if start >= rows:
                start -= rows
                continue
            for batch in file.iter_batches(batch_size=1024, row_groups=[number]):
                yield from batch.slice(start).to_pylist() if start else batch.to_pylist()
                start = max(0, start - len(batch))


def _address(hub: Hub) -> str:
    return f"https://huggingface.co/datasets/{hub.repository}"


def _hub(part: Part, hub: Hub) -> Source:
    import datasets

    local = Path(hub.repository).is_absolute()
    try:
        stream = datasets.load_dataset(hub.repository, hub.config, split=hub.split, streaming=True)
    except ValueError as error:
        raise DataError(
            f"{hub.repository}: {part.name} is not in it as config={hub.config}, split={hub.split} "
            f"({_first_line(error)}); give the file that has it by --source FILE"
        ) from None
    except OSError as error:
        raise DataError(f"{hub.repository}: {_unreachable(part, hub, local)} ({_first_line(error)})") from None
    files = [file.stat() for file in Path(hub.repository).rglob("*") if file.is_file()] if local else []
    return Source(
        {
            **hub._asdict(),
            "bytes": sum(file.st_size for file in files),
            "changed": max((file.st_mtime_ns for file in files), default=0),
        },
        lambda start: _stream(stream, start, hub),
        part.rows,
        0,
        hub.repository,
    )


def _unreachable(part: Part, hub: Hub, local: bool) -> str:
    if local:
        return f"no data file is in this folder; clone {_address(part.hubs[0])} into it, or give --source FILE"
    return (
        f"the hub cannot be reached, or has no such repository; download the data file from {_address(hub)} where "
        f"there is a network, and give it: frpo-verl data {part.name} --source FILE"
    )


def _stream(stream: Any, start: int, hub: Hub) -> Iterator[Row]:
    # What was read is skipped as Arrow tables, not row by row; the network sends it again.
    rows = iter(stream.skip(start) if start else stream)
    position = start
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        # Whatever it is (of the network, of the file system, of the format), rows up to here are safe.
        except Exception as error:
            raise DataError(
                f"{hub.repository}: reading stopped after row {position} ({_first_line(error)}); give the same command "
                "again, it goes on from there"
            ) from error
        yield row
        position += 1


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
