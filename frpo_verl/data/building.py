"""Builds the parquet files of a set of problems."""

import errno
import importlib.util
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl import __version__
from frpo_verl.data import catalogue, dedup, gym_tasks, leakage, reading, table
from frpo_verl.data.catalogue import GYM, Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.gym_tasks import Draw
from frpo_verl.data.problem import Problem, Source

OUTPUT = Path("~/data/frpo")


class Built(NamedTuple):
    """A parquet file that is there now.

    Attributes:
        path: of the file.
        split: `train` or `test`.
        rows: how many it has.
        sha256: of its rows, see `table.checksum`.
        dropped: how many rows of the source were left out, by reason.
        reused: it was there already, whole and from the same source.
        remark: a warning about it, or empty.
        taken: how many of its problems were removed from train sets that were there already, by train set.
    """

    path: Path
    split: str
    rows: int
    sha256: str
    dropped: dict[str, int]
    reused: bool = False
    remark: str = ""
    taken: dict[str, int] = {}


class Selected(NamedTuple):
    """The problems of a source that go into a file.

    Attributes:
        read: how many rows were read.
        kept: the problems, each with its row's number from 0.
        dropped: how many rows were left out, by reason.
    """

    read: int
    kept: list[tuple[int, Problem]]
    dropped: Counter[str]


def build(
    name: str,
    *,
    output: str | Path = OUTPUT,
    source: str | None = None,
    limit: int | None = None,
    draw: Draw | None = None,
) -> list[Built]:
    """Turns a set of problems into verl's parquet files.

    A train file has each problem once, and none that a test set of the folder has, whichever was built first. A file
    that is there from the same source is kept.

    Args:
        name: of a set, of a part of it, or `reasoning_gym:<task>`.
        output: the folder to write into; made if absent.
        source: a file, a folder laid out like the repository, or a repository of the hub; None for the set's own.
        limit: stop after so many problems a file; None for all.
        draw: how reasoning-gym draws; None for `Draw()`; not used by other sets.

    Returns:
        The files, test sets first.

    Raises:
        DataError: what, the value, the fix.
    """
    chosen = gym_tasks.parts(name) if name.startswith(GYM) else catalogue.parts(name)
    _refuse_options(name, chosen, source, limit)
    for package in ("pyarrow", "datasets", "filelock", "tqdm"):
        if importlib.util.find_spec(package) is None:
            raise DataError(f"{package} is not installed; pip install 'frpo-verl[data]'")
    folder = _writable(Path(output).expanduser())
    sources = [reading.find(part, source) if part.hubs else gym_tasks.find(part, draw or Draw()) for part in chosen]
    return [_build(name, part, folder, each, limit) for part, each in zip(chosen, sources, strict=True)]


def _refuse_options(name: str, chosen: tuple[Part, ...], source: str | None, limit: int | None) -> None:
    if source is not None and not chosen[0].hubs:
        raise DataError(f"{name} with --source {source}: reasoning-gym generates it; leave --source out")
    if source is not None and len(chosen) > 1 and Path(source).expanduser().is_file():
        names = " or ".join(part.name for part in chosen)
        raise DataError(f"{name} with --source {source}: it is {len(chosen)} sets, not one; name {names}")
    if limit is not None and limit < 1:
        raise DataError(f"--limit {limit}: it must be 1 or more; leave it out for everything")


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
        with table.locked(folder):
            return _reused(path, header) or _made(name, part, path, header, source)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DataError(f"{folder}: the disk is full; make room, and run the same command again") from None


def _reused(path: Path, header: dict[str, Any]) -> Built | None:
    """Returns the file if it is whole and from the same source; nothing is read from there."""
    if _there(path, header) is None:
        return None
    # A killed process may have left a test set whose problems are still in the train sets.
    taken = leakage.clean(path.parent)
    there = _there(path, header)
    return there._replace(taken=taken) if there.split == "test" else there


def _there(path: Path, header: dict[str, Any]) -> Built | None:
    known = table.read_manifest(path)
    if known is None or known["header"] != header or table.checksum(path) != (known["rows"], known["sha256"]):
        return None
    return Built(path, known["split"], known["rows"], known["sha256"], known["dropped"], reused=True)


def _made(name: str, part: Part, path: Path, header: dict[str, Any], source: Source) -> Built:
    limit = header["limit"]
    _refuse_a_part_for_the_whole(path, limit)
    read, kept, dropped = _selected(part, source, limit)
    rows = (table.row(part, index, each) for index, each in kept)
    if part.split == "train":
        rows = leakage.without(rows, leakage.tests(path.parent), dropped)
    count, sha256 = table.write(rows, path)
    manifest = {"name": name, "split": part.split, "rows": count, "sha256": sha256, "dropped": dropped}
    table.write_manifest(path, manifest | {"header": header, "frpo_verl": __version__})
    taken = leakage.clean(path.parent) if part.split == "test" else {}
    return Built(path, part.split, count, sha256, dropped, False, _remark(part, limit, sha256), taken)


def _selected(part: Part, source: Source, limit: int | None) -> Selected:
    """Selects the problems of a source, and refuses a source of another size than the set."""
    found = _select(part, source.problems(), limit)
    if not found.kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.dropped.items())
        fix = f"check its content ({reasons})" if part.hubs else "raise --size, or change --held-out"
        raise DataError(f"{part.name}: none of the {found.read} rows of {source.place} is left; {fix}")
    if limit is None and part.rows not in (None, found.read):
        raise DataError(
            f"{part.name}: {source.place} has {found.read} rows and the set has {part.rows}; give the whole set "
            f"({catalogue.address(part.hubs[0])}), or --limit {found.read} for a part of it"
        )
    return found


def _select(part: Part, problems: Iterable[Problem | None], limit: int | None) -> Selected:
    from tqdm import tqdm

    seen, kept, dropped, read = dedup.Seen(), [], Counter(), 0
    # Others report figures on exactly these rows.
    benchmark = part.split == "test" and part.rows is not None
    for read, each in enumerate(tqdm(problems, desc=part.name, total=part.rows, unit=" rows", disable=None), 1):
        if each is None:
            continue
        reason = part.reason(each)
        if reason is None and not benchmark and seen.again(each.text, each.answer):
            reason = "duplicate"
        if reason is None:
            kept.append((read - 1, each))
        else:
            dropped[reason] += 1
        if len(kept) == limit:
            break
    certain = [(index, each) for index, each in kept if not seen.contradictory(each.text)]
    return Selected(read, certain, dropped + Counter({"two answers": len(kept) - len(certain)}))


def _refuse_a_part_for_the_whole(path: Path, limit: int | None) -> None:
    manifest = table.read_manifest(path)
    if limit is not None and manifest is not None and manifest["header"].get("limit") is None:
        raise DataError(
            f"--limit {limit}: {path} holds the whole set of {manifest['rows']} rows, which a part would replace; "
            "choose another --output, or remove the file"
        )


def _remark(part: Part, limit: int | None, sha256: str) -> str:
    if part.sha256 in (None, sha256) or limit is not None:
        return ""
    return (
        f"the rows are not the known ones of {part.hubs[0].repository} (sha256 {part.sha256[:12]}…): check what "
        "differs before you compare figures with published ones"
    )
