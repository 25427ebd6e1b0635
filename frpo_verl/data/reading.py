"""Opens the source of a set with Hugging Face `datasets`: a repository of the hub, a clone of one, or a file."""

import csv
import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from frpo_verl.data import problem
from frpo_verl.data.catalogue import Hub, Part, address
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem, Source

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")


def find(part: Part, source: str | None) -> Source:
    """Finds a file, a folder or a repository of the hub (None: the part's own) without reading it."""
    if source is None:
        return _repository(part, part.hubs[0])
    path = Path(source).expanduser()
    if path.is_file():
        return _file(part, path)
    if path.is_dir():
        return _folder(part, path.resolve())
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not _kind(path):
        known = (own for own in part.hubs if own.repository.lower() == source.lower())
        return _repository(part, next(known, Hub(source, None, part.split)))
    raise DataError(
        f"--source {source}: there is no such file; give a {', '.join(FORMATS)} file, a folder with a clone of "
        f"{part.hubs[0].repository}, or the hub's owner/name"
    )


def _repository(part: Part, hub: Hub) -> Source:
    fix = (
        f"check the network and that it has a {_split(hub)}, or download the data file from {address(hub)} and give "
        f"it: frpo-verl data {part.name} --source FILE"
    )
    return Source(hub.repository, hub._asdict(), partial(_problems, part, hub.repository, partial(_load, hub), fix))


def _folder(part: Part, path: Path) -> Source:
    hub = part.hubs[0]._replace(repository=str(path))
    fix = (
        f"{part.name} is read as {_split(hub)}; give a clone of {address(part.hubs[0])}, or the file that has it by "
        "--source FILE"
    )
    # Streamed: a copy in the hub's cache has no use.
    load = partial(_load, hub, streaming=True)
    identity = hub._asdict() | _stamp(*(file for file in path.rglob("*") if file.is_file()))
    return Source(str(path), identity, partial(_problems, part, str(path), load, fix))


def _file(part: Part, path: Path) -> Source:
    kind, again = _kind(path), f"download it again from {address(part.hubs[0])}"
    if not kind or path.name.lower().endswith(".parquet.gz"):
        raise DataError(
            f"--source {path}: files of this kind cannot be read; give one of {', '.join(FORMATS)} (also packed, .gz)"
        )
    if path.stat().st_size == 0:
        raise DataError(f"--source {path}: the file is empty; {again}")
    load = partial(_table, path) if kind in (".csv", ".tsv") else partial(_stream, path)
    identity = {"file": str(path.resolve())} | _stamp(path)
    return Source(str(path), identity, partial(_problems, part, str(path), load, f"correct the file, or {again}"))


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), "")


def _split(hub: Hub) -> str:
    return f"split {hub.split}" + (f" of config {hub.config}" if hub.config else "")


def _stamp(*files: Path) -> dict[str, int]:
    stats = [file.stat() for file in files]
    return {
        "bytes": sum(each.st_size for each in stats),
        "changed": max((each.st_mtime_ns for each in stats), default=0),
    }


def _load(hub: Hub, **options: Any) -> Iterable[dict[str, Any]]:
    import datasets

    return datasets.load_dataset(hub.repository, hub.config, split=hub.split, **options)


def _stream(path: Path) -> Iterable[dict[str, Any]]:
    import datasets

    builder = "parquet" if _kind(path) == ".parquet" else "json"
    return datasets.load_dataset(builder, data_files=str(path), split="train", streaming=True)


def _table(path: Path) -> Iterator[dict[str, Any]]:
    """Reads cells as text; `datasets` would make numbers of them and lose `0.50` and `NA`."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t" if _kind(path) == ".tsv" else ",")


def _problems(part: Part, place: str, load: Callable[[], Iterable[dict]], fix: str) -> Iterator[Problem]:
    count = 0
    try:
        for count, row in enumerate(load(), 1):
            yield problem.read(row, part.columns, f"{place}, row {count}")
    except DataError:
        raise
    # Of the network, the file system or the format: nothing is written yet, and all of them have the same fix.
    except Exception as error:
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        after = f" after row {count}" if count else ""
        raise DataError(f"{place}: cannot be read{after} ({reason}); {fix}") from error
