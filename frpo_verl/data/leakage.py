"""Keeps the problems of test sets out of the train sets of a folder."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from frpo_verl.data import dedup, table
from frpo_verl.data.table import Row


def tests(folder: Path) -> dict[int, str]:
    """Returns the name of the test set by the key of each problem of every test set in a folder."""
    return {dedup.key(table.question(row)): path.stem for path in _files(folder, "test") for row in table.read(path)}


def without(rows: Iterable[Row], known: dict[int, str], counts: Counter[str]) -> Iterator[Row]:
    """Yields the rows of a train set that no test set has, and counts the others by reason."""
    for row in rows:
        where = known.get(dedup.key(table.question(row))) if known else None
        if where is None:
            yield row
        else:
            counts[f"in {where}"] += 1


def found(folder: Path) -> dict[str, Counter[str]]:
    """Counts the rows of each train set that are in test sets, by test set; clean train sets are missing."""
    known, leaks = tests(folder), {}
    for path in _files(folder, "train"):
        counts: Counter[str] = Counter()
        for _ in without(table.read(path), known, counts):
            pass
        if counts:
            leaks[path.stem] = counts
    return leaks


def clean(folder: Path) -> dict[str, int]:
    """Removes the problems of test sets from the train sets that exist, and returns how many from which."""
    known, leaks = tests(folder), found(folder)
    for train, counts in leaks.items():
        path = folder / f"{train}.parquet"
        rows, sha256 = table.write(without(table.read(path), known, Counter()), path)
        manifest = table.read_manifest(path)
        dropped = Counter(manifest["dropped"]) + counts
        table.write_manifest(path, manifest | {"rows": rows, "sha256": sha256, "dropped": dropped})
    return {train: counts.total() for train, counts in leaks.items()}


def _files(folder: Path, split: str) -> list[Path]:
    found = sorted(folder.glob("*.parquet"))
    return [path for path in found if (table.read_manifest(path) or {}).get("split") == split]
