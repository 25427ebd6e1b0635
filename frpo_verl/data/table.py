"""verl's parquet files, their checksums, and the manifest beside each."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from frpo_verl.data import prompt
from frpo_verl.data.catalogue import Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem

ROW_GROUP = 10_000
"""Rows that are in memory at a time."""

Row = dict[str, Any]


def row(part: Part, index: int, problem: Problem) -> Row:
    """A row in verl's RLHF schema, the same for every set: verl concatenates validation files.

    Args:
        part: the set.
        index: the row's number in the source.
        problem: what is asked.

    Returns:
        The row.
    """
    return {
        "data_source": part.data_source,
        "prompt": prompt.messages(problem.text),
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


def write(rows: Iterable[Row], path: Path) -> tuple[int, str]:
    """Writes a parquet file; a file of the same name is replaced when the new one is whole.

    Args:
        rows: in verl's schema.
        path: of the file.

    Returns:
        How many rows, and the SHA-256 of them as `checksum` computes it.
    """
    import pyarrow
    import pyarrow.parquet

    schema, digest, count = _schema(), hashlib.sha256(), 0
    unfinished = _unfinished(path)
    try:
        with pyarrow.parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for group in _groups(rows, ROW_GROUP):
                for each in group:
                    digest.update(_canonical(each))
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                count += len(group)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count, digest.hexdigest()


def read(path: Path) -> Iterator[Row]:
    """The rows of a parquet file, a row group at a time.

    Args:
        path: of the file.

    Yields:
        A row.

    Raises:
        DataError: the file is broken.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: the file is broken ({error}); remove it, and build that set again") from None


def checksum(path: Path) -> tuple[int, str] | None:
    """Counts the rows of a parquet file, and hashes them so that neither row groups nor compression matter.

    Args:
        path: of the file.

    Returns:
        How many, and the SHA-256 of their JSON (keys sorted, no white space, ASCII, a line each); None where the file
        is broken.
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
    """Writes the manifest of a parquet file.

    Args:
        path: of the parquet file.
        manifest: JSON.
    """
    unfinished = _unfinished(manifest_path(path))
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n")
    os.replace(unfinished, manifest_path(path))


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Reads the manifest of a parquet file.

    Args:
        path: of the parquet file.

    Returns:
        The manifest, or None where one of the two is missing or the manifest is no JSON.
    """
    if not path.is_file() or not manifest_path(path).is_file():
        return None
    try:
        return json.loads(manifest_path(path).read_text())
    except ValueError:
        return None


def manifest_path(path: Path) -> Path:
    """Where the manifest of a parquet file is.

    Args:
        path: of the parquet file.

    Returns:
        Of the manifest.
    """
    return path.with_suffix(".manifest.json")


def sweep(folder: Path) -> None:
    """Removes what killed processes were writing; for when no other process writes into the folder.

    Args:
        folder: with parquet files and their manifests.
    """
    for path in folder.glob("*.writing"):
        path.unlink()


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.writing")


def _groups(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    for each in rows:
        group.append(each)
        if len(group) == size:
            yield group
            group = []
    if group:
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
