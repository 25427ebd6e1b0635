"""From where a set is read: a local file, a folder laid out like a repository of the hub, or the hub itself."""

import re
from pathlib import Path

from frpo_verl.data import files, hub
from frpo_verl.data.catalogue import Hub, Part
from frpo_verl.data.errors import DataError
from frpo_verl.data.source import Source


def find(part: Part, source: str | None) -> Source:
    """Opens where a part is to be read from.

    Args:
        part: what is to be read.
        source: a file, a folder, or a repository of the hub; None for the part's own repository.

    Returns:
        The source; no row is read yet, except of an array of JSON.

    Raises:
        DataError: it is not there, or of a kind that cannot be read.
    """
    if source is None:
        return hub.read(part, part.hubs[0])
    path = Path(source).expanduser()
    if path.is_file():
        return files.read(part, path)
    if path.is_dir():
        return hub.read(part, part.hubs[0]._replace(repository=str(path.resolve())))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not files.suffix(path):
        known = (own for own in part.hubs if own.repository.lower() == source.lower())
        return hub.read(part, next(known, Hub(source, None, part.split)))
    raise DataError(
        f"--source {source}: there is no such file; give a {', '.join(files.FORMATS)} file, a folder with a clone of "
        f"{part.hubs[0].repository}, or the hub's owner/name"
    )
