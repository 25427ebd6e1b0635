"""Makes a model's folder that is either complete or absent."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


def build_once(destination: Path, write: Callable[[Path], None]) -> Path:
    """Calls `write` on an empty folder that becomes `destination` only when it is complete; keeps a complete one.

    Raises `FileExistsError` where `destination` holds something other than a complete model.
    """
    if is_complete(destination):
        return destination
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise FileExistsError(
            f"{destination} exists but is not a complete model folder: remove it or name another folder"
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _scratch_folder(destination) as scratch:
        write(scratch)
        _publish(scratch, destination)
    return destination


def is_complete(folder: Path) -> bool:
    """Returns True if the folder holds every one of `MODEL_FILES`."""
    return all((folder / name).is_file() for name in MODEL_FILES)


@contextmanager
def _scratch_folder(destination: Path) -> Iterator[Path]:
    # A sibling is on the same file system, where a rename is atomic.
    scratch = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}")
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, destination: Path) -> None:
    try:
        os.replace(scratch, destination)
    except OSError:
        # Another process that built the same model at the same time was first; its folder serves as well.
        if not is_complete(destination):
            raise
