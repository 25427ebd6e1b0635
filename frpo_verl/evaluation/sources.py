"""Finds what verl logged in a folder or a file, and reads it, whichever of verl's loggers wrote it."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from frpo_verl.evaluation import console_log, dumps, event_files, file_log, wandb_files
from frpo_verl.evaluation.metrics import Log, Record, RunLogError, joined

Reader = Callable[[Path], Iterator[Record | str]]

FOLDERS: tuple[tuple[Reader, tuple[str, ...]], ...] = (
    (file_log.records, ("metrics.jsonl",)),
    (event_files.records, ("*tfevents*", "tensorboard_log/**/*tfevents*")),
    (wandb_files.records, ("*.wandb", "wandb/offline-run-*/*.wandb", "offline-run-*/*.wandb")),
    (console_log.records, ("trainer.log", "*.log", "*.out", "*.txt")),
)
"""The readers in the order in which a folder is searched, and the names that they look for."""


def read_log(path: Path) -> Log:
    """Reads the metrics of a run.

    Args:
        path: the run's folder, or a log: of the file logger, of TensorBoard, of wandb offline, or what was printed.

    Returns:
        The steps in ascending order, with a sentence for whatever was left out.

    Raises:
        RunLogError: nothing is there, or nothing of verl's.
    """
    reader, files = _found(path)
    log = joined(files[-1] if len(files) == 1 else path, chain.from_iterable(reader(file) for file in files))
    if not log.steps:
        why = f": {log.notes[0]}" if log.notes else ""
        empty = all(file.stat().st_size == 0 for file in files)
        fix = "; give a run's folder, or what one of verl's loggers wrote"
        said = "is empty: verl has not written a whole line yet" if empty else f"holds no metrics of verl{why}{fix}"
        raise RunLogError(f"{log.source} {said}.")
    return log


def _found(path: Path) -> tuple[Reader, list[Path]]:
    if path.is_file():
        return _of_file(path), [path]
    if not path.is_dir():
        raise RunLogError(f"{path} does not exist; correct the path.")
    empty: list[Path] = []
    for reader, patterns in FOLDERS:
        for pattern in patterns:
            # the names of event files begin with the time
            named = sorted(file for file in path.glob(pattern) if file.is_file())
            files = [file for file in named if file.stat().st_size and _fits(reader, file)]
            if reader is file_log.records:
                files = _earlier(path) + files
            elif len(files) > 1 and reader is not event_files.records:
                raise RunLogError(f"{path} holds {len(files)} logs, {files[0].name} and {files[1].name}: name one.")
            if files:
                return reader, files
            empty += [file for file in named if not file.stat().st_size]
    if empty:
        return _of_file(empty[0]), empty[:1]
    dumped = "; its dumps can be read by `frpo-verl eval`" if dumps.files(path / "validation") else ""
    raise RunLogError(
        f"{path} does not hold a run: no metrics.jsonl (trainer.logger=[console,file] and VERL_FILE_LOGGER_PATH), no "
        f"event file of TensorBoard, no wandb file and no log with a line 'step:N - …'{dumped}."
    )


def _earlier(path: Path) -> list[Path]:
    """Finds what the recipes kept of a run before it was resumed, since verl empties its file."""
    kept = [file for file in path.glob("earlier-*/metrics.jsonl") if file.parent.name.split("-")[1].isdecimal()]
    return sorted(kept, key=lambda file: int(file.parent.name.split("-")[1]))


def _of_file(path: Path) -> Reader:
    if path.suffix == ".wandb":
        return wandb_files.records
    if "tfevents" in path.name:
        return event_files.records
    with path.open("rb") as file:
        return file_log.records if file.read(64).lstrip()[:1] in (b"{", b"") else console_log.records


def _fits(reader: Reader, file: Path) -> bool:
    """Tells a log of verl's console logger from any other text."""
    if reader is not console_log.records:
        return True
    with file.open(encoding="utf-8", errors="replace") as lines:
        return any(console_log.STEP.search(line) for line in lines)
