"""Problems of the test sets are no training problems."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from frpo_verl.data import dedup, prompt, table
from frpo_verl.data.table import Row

Tests = dict[int, str]


def tests(folder: Path) -> Tests:
    """The problems of every test set in a folder.

    Args:
        folder: with parquet files and their manifests.

    Returns:
        The set's name by the problem's key.
    """
    return {
        dedup.key(prompt.problem(row["prompt"])): path.stem
        for path in _files(folder, "test")
        for row in table.read(path)
    }


def without(rows: Iterable[Row], known: Tests, counts: dict[str, int]) -> Iterator[Row]:
    """Leaves out the problems of test sets.

    Args:
        rows: of a train set.
        known: problems of test sets.
        counts: how many were left out, by reason; added to.

    Yields:
        A row that no test set has.
    """
    for row in rows:
        where = known.get(dedup.key(prompt.problem(row["prompt"]))) if known else None
        if where is None:
            yield row
        else:
            counts[f"in {where}"] = counts.get(f"in {where}", 0) + 1


def found(folder: Path) -> dict[str, dict[str, int]]:
    """Counts the problems of test sets in the train sets.

    Args:
        folder: with parquet files and their manifests.

    Returns:
        How many rows of which train set are in which test set; train sets that have none are missing.
    """
    known, leaks = tests(folder), {}
    for path in _files(folder, "train"):
        counts: dict[str, int] = {}
        for _ in without(table.read(path), known, counts):
            pass
        if counts:
            leaks[path.stem] = counts
    return leaks


def clean(folder: Path) -> dict[str, int]:
    """Takes the problems of test sets out of the train sets that are there already.

    Args:
        folder: with parquet files and their manifests.

    Returns:
        How many rows were taken out of which train set; train sets that had none are missing.
    """
    known, leaks = tests(folder), found(folder)
    for train, counts in leaks.items():
        path = folder / f"{train}.parquet"
        rows, sha256 = table.write(without(table.read(path), known, {}), path)
        manifest = table.read_manifest(path)
        dropped = manifest["dropped"] | {
            reason: manifest["dropped"].get(reason, 0) + count for reason, count in counts.items()
        }
        table.write_manifest(path, manifest | {"rows": rows, "sha256": sha256, "dropped": dropped})
    return {train: sum(counts.values()) for train, counts in leaks.items()}


def _files(folder: Path, split: str) -> list[Path]:
    found = sorted(folder.glob("*.parquet"))
    return [path for path in found if (table.read_manifest(path) or {}).get("split") == split]
