"""Builds the parquet files of a set of problems."""

import errno
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl import __version__
from frpo_verl.data import catalogue, dedup, gym_tasks, leakage, problem, sources, spool, table
from frpo_verl.data.catalogue import GYM, Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.folder import locked
from frpo_verl.data.gym_tasks import Draw
from frpo_verl.data.source import Source

OUTPUT = Path("~/data/frpo")

_ROW_BYTES = 4096
"""A long problem, as JSON on the way and as parquet; for looking at the disk beforehand."""


class Built(NamedTuple):
    """A parquet file that is there now.

    Attributes:
        path: of the file.
        split: `train` or `test`.
        rows: how many it has.
        sha256: of its rows, see `table.checksum`.
        dropped: rows of the source that it does not have, by reason.
        reused: it was there already, whole and from the same source.
        resumed: rows of the source that a killed process had done.
        remark: what should be known about it, or empty.
        taken: rows that were taken out of train sets that were there already, as they are in this test set.
    """

    path: Path
    split: str
    rows: int
    sha256: str
    dropped: dict[str, int]
    reused: bool = False
    resumed: int = 0
    remark: str = ""
    taken: dict[str, int] = {}


def build(
    name: str,
    *,
    output: str | Path = OUTPUT,
    source: str | None = None,
    limit: int | None = None,
    draw: Draw | None = None,
) -> list[Built]:
    """Turns a set of problems into verl's parquet files.

    Train rows are each there once, and never there if a test set of the folder has the problem, whichever was built
    first. Killed, it goes on from where it was when it is called again in the same way.

    Args:
        name: of a set, of a part of it, or `reasoning_gym:<task>`.
        output: the folder to write into; made if absent.
        source: a file, a folder laid out like the repository, or a repository of the hub; None for the set's own.
        limit: stop after so many problems a file; None for all.
        draw: what reasoning-gym is asked for; None for `Draw()`; not used by other sets.

    Returns:
        The files, test sets first.

    Raises:
        DataError: what, the value, the fix.
    """
    chosen = gym_tasks.parts(name) if name.startswith(GYM) else catalogue.parts(name)
    if source is not None and not chosen[0].hubs:
        raise DataError(f"{name} with --source {source}: it is made on the spot; leave --source out")
    if source is not None and len(chosen) > 1 and Path(source).expanduser().is_file():
        names = " or ".join(part.name for part in chosen)
        raise DataError(f"{name} with --source {source}: it is {len(chosen)} sets, not one; name {names}")
    if limit is not None and limit < 1:
        raise DataError(f"--limit {limit}: it must be 1 or more; leave it out for everything")
    for package in ("pyarrow", "datasets", "tqdm"):
        if importlib.util.find_spec(package) is None:
            raise DataError(f"{package} is not installed; pip install 'frpo-verl[data]'")
    folder = _writable(Path(output).expanduser())
    opened = [_source(part, source, draw or Draw()) for part in chosen]
    return [_build(name, part, folder, each, limit) for part, each in zip(chosen, opened, strict=True)]


def _source(part: Part, source: str | None, draw: Draw) -> Source:
    if part.hubs:
        return sources.find(part, source)
    return gym_tasks.find(part.data_source.partition("/")[2], part.split, draw)


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"--output {folder}: cannot be written to ({error.strerror}); choose another folder") from None
    return folder


def _build(name: str, part: Part, folder: Path, source: Source, limit: int | None) -> Built:
    path, header = folder / f"{part.name}.parquet", {"source": source.identity, "limit": limit}
    try:
        if (done := _reused(path, header)) is not None:
            return done
        _refuse_a_part_for_the_whole(path, limit)
        _room(folder, part, source, limit)
        source.connect()
        with spool.opened(folder / f"{part.name}.unfinished", header, unique=not _benchmark(part)) as work:
            _convert(part, source, limit, work)
            built = _finish(name, part, path, header, work, source)
            # Before another process can open it.
            (folder / f"{part.name}.unfinished").unlink(missing_ok=True)
        return built
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DataError(
            f"{folder}: the disk is full; what was converted is kept: make room, and give the same command again"
        ) from None


def _refuse_a_part_for_the_whole(path: Path, limit: int | None) -> None:
    manifest = table.read_manifest(path)
    if limit is not None and manifest is not None and manifest["header"].get("limit") is None:
        raise DataError(
            f"--limit {limit}: {path} holds the whole set of {manifest['rows']} rows, which a part would replace; "
            "choose another --output, or remove the file"
        )


def _benchmark(part: Part) -> bool:
    """Whether others report figures on exactly these rows, so that none may be dropped."""
    return part.split == "test" and part.rows is not None


def _reused(path: Path, header: dict[str, Any]) -> Built | None:
    if table.read_manifest(path) is None:
        return None
    with locked(path.parent):
        if _done(path, header) is None:
            return None
        # A process that was killed may have left a test set that was not taken out of the train sets yet.
        taken = leakage.clean(path.parent)
        done = _done(path, header)
        return done._replace(taken=taken) if done.split == "test" else done


def _done(path: Path, header: dict[str, Any]) -> Built | None:
    manifest = table.read_manifest(path)
    if manifest is None or manifest["header"] != header:
        return None
    if table.checksum(path) != (manifest["rows"], manifest["sha256"]):
        return None
    return Built(path, manifest["split"], manifest["rows"], manifest["sha256"], manifest["dropped"], reused=True)


def _room(folder: Path, part: Part, source: Source, limit: int | None) -> None:
    rows = min(limit or 1 << 62, source.total or part.rows or 100_000)
    needed = min(3 * source.size or 1 << 62, rows * _ROW_BYTES)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"--output {folder}: {free / 2**20:.0f} MiB are free there and {part.name} may need "
            f"{needed / 2**20:.0f} MiB on the way; make room, or choose another folder"
        )


def _convert(part: Part, source: Source, limit: int | None, work: spool.Spool) -> None:
    from tqdm import tqdm

    rows = source.rows(work.read)
    with tqdm(desc=part.name, total=source.total, initial=work.read, unit=" rows", disable=None) as bar:
        while limit is None or work.kept < limit:
            row = next(rows, None)
            if row is None:
                return
            where = f"{source.place}, row {work.read + 1}"
            if part.hubs:
                found = problem.read(row, part.columns, where)
            else:
                found = gym_tasks.read(row, part.data_source.partition("/")[2], work.read, where)
            work.add(found, part.reason(found) if found is not None and part.reason else None)
            bar.update()


def _finish(name: str, part: Part, path: Path, header: dict[str, Any], work: spool.Spool, source: Source) -> Built:
    if part.rows not in (None, work.read) and header["limit"] is None:
        raise DataError(
            f"{part.name}: {source.place} has {work.read} rows and the set has {part.rows}; give the whole set "
            f"({catalogue.address(part.hubs[0])}), or --limit {work.read} for a part of it"
        )
    if not work.kept:
        dropped = ", ".join(f"{count} {reason}" for reason, count in work.dropped.items())
        fix = f"look at what it holds ({dropped})" if part.hubs else "raise --size, or change --held-out"
        raise DataError(f"{part.name}: none of the {work.read} rows of {source.place} is left; {fix}")
    with locked(path.parent):
        return _write(name, part, path, header, work)


def _write(name: str, part: Part, path: Path, header: dict[str, Any], work: spool.Spool) -> Built:
    table.sweep(path.parent)
    dropped = dict(work.dropped)
    rows = _rows(part, work, dropped)
    if part.split == "train":
        rows = leakage.without(rows, leakage.tests(path.parent), dropped)
    count, sha256 = table.write(rows, path)
    table.write_manifest(
        path,
        {"name": name, "split": part.split, "rows": count, "sha256": sha256, "dropped": dropped, "header": header,
         "frpo_verl": __version__},
    )  # fmt: skip
    taken = leakage.clean(path.parent) if part.split == "test" else {}
    return Built(path, part.split, count, sha256, dropped, False, work.resumed, _remark(part, header, sha256), taken)


def _rows(part: Part, work: spool.Spool, dropped: dict[str, int]) -> Iterator[table.Row]:
    for index, each in work.problems():
        if work.contradictory and dedup.key(each.text) in work.contradictory:
            dropped["two answers"] = dropped.get("two answers", 0) + 1
        else:
            yield table.row(part, index, each)


def _remark(part: Part, header: dict[str, Any], sha256: str) -> str:
    if part.sha256 in (None, sha256) or header["limit"] is not None:
        return ""
    return (
        f"the rows are not the known ones of {part.hubs[0].repository} (sha256 {part.sha256[:12]}…): look at what "
        "differs before you compare figures with published ones"
    )
