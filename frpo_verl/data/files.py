"""Rows of a local file, one after another."""

import csv
import gzip
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frpo_verl.data.catalogue import Part, address
from frpo_verl.data.errors import DataError
from frpo_verl.data.source import Row, Source

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")


def suffix(path: Path) -> str:
    """The kind of a file by its name, without `.gz`.

    Args:
        path: of the file.

    Returns:
        One of `FORMATS`, or nothing.
    """
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), "")


def read(part: Part, path: Path) -> Source:
    """Opens a file.

    Args:
        part: what is to be read.
        path: of the file, which exists.

    Returns:
        The source. An array of JSON is read whole, everything else row by row.

    Raises:
        DataError: it is of another kind, empty or broken.
    """
    kind, packed = suffix(path), path.name.lower().endswith(".gz")
    if not kind or (packed and kind == ".parquet"):
        raise DataError(
            f"--source {path}: files of this kind cannot be read; give one of {', '.join(FORMATS)} (also packed, .gz)"
        )
    stat = path.stat()
    if stat.st_size == 0:
        raise DataError(f"--source {path}: the file is empty; download it again from {address(part.hubs[0])}")
    identity = {"file": str(path.resolve()), "bytes": stat.st_size, "changed": stat.st_mtime_ns}
    if kind == ".parquet":
        total = _parquet(path).metadata.num_rows
        return Source(identity, lambda start: _parquet_rows(path, start), total, stat.st_size, str(path))
    if kind == ".json" and _is_array(path):
        array = _array(path)
        return Source(identity, lambda start: iter(array[start:]), len(array), stat.st_size, str(path))
    read = _table_rows if kind in (".csv", ".tsv") else _json_lines
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
    delimiter = "\t" if suffix(path) == ".tsv" else ","
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
