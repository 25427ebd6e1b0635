"""Rows of a repository of the Hugging Face hub, or of a folder laid out like one, one after another."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frpo_verl.data.catalogue import Hub, Part, address
from frpo_verl.data.errors import DataError
from frpo_verl.data.source import Row, Source


def read(part: Part, hub: Hub) -> Source:
    """Opens a repository.

    Args:
        part: what is to be read.
        hub: where it is; a whole path as its repository is a local folder.

    Returns:
        The source; its `connect` and its rows raise a DataError where the repository cannot be reached, or has no such
        configuration or split.
    """
    local = Path(hub.repository).is_absolute()
    files = [file.stat() for file in Path(hub.repository).rglob("*") if file.is_file()] if local else []
    identity = {
        **hub._asdict(),
        "bytes": sum(file.st_size for file in files),
        "changed": max((file.st_mtime_ns for file in files), default=0),
    }
    connect = functools.cache(functools.partial(_connect, part, hub, local))
    return Source(identity, lambda start: _stream(connect(), start, hub), part.rows, 0, hub.repository, connect)


def _connect(part: Part, hub: Hub, local: bool) -> Any:
    import datasets

    try:
        return datasets.load_dataset(hub.repository, hub.config, split=hub.split, streaming=True)
    except ValueError as error:
        raise DataError(
            f"{hub.repository}: {part.name} is not in it as config={hub.config}, split={hub.split} "
            f"({_first_line(error)}); give the file that has it by --source FILE"
        ) from None
    except OSError as error:
        raise DataError(f"{hub.repository}: {_unreachable(part, hub, local)} ({_first_line(error)})") from None


def _unreachable(part: Part, hub: Hub, local: bool) -> str:
    if local:
        return f"no data file is in this folder; clone {address(part.hubs[0])} into it, or give --source FILE"
    return (
        f"the hub cannot be reached, or has no such repository; download the data file from {address(hub)} where "
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
