"""Runs a recipe as a child process and leaves no process behind."""

import contextlib
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARK = "FRPO_VERL_RUN"
"""Environment variable that every process of a run inherits, those of Ray and vLLM included."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RAY_PREFIX = re.compile(r"^\([^)]*pid=\d+[^)]*\) ")
_ERROR = re.compile(r"^(frpo-verl: (?!warning)|[\w.]*(Error|Exception|Exit)\b.*: )")


class RunError(RuntimeError):
    """A run could not start or failed; the message is one sentence for the user."""


class Run(NamedTuple):
    """A recipe that is running."""

    process: subprocess.Popen  # the recipe's shell, which becomes the trainer's driver
    mark: str  # the value of `MARK` in the environment of all its processes
    directory: Path  # where its log and metrics are

    @property
    def log(self) -> Path:
        """Returns the file of everything that the run prints."""
        return self.directory / "trainer.log"


@contextlib.contextmanager
def running(recipe: Path, settings: dict[str, str], directory: Path, overrides: tuple[str, ...] = ()) -> Iterator[Run]:
    """Yields a running recipe, and ends every process that it started at the end of the `with` block.

    `settings` are its upper-case knobs, `directory` its RUN_DIR, `overrides` are passed to verl unchanged. Raises
    `RunError` where the recipe is missing or the directory already holds a run.
    """
    if not recipe.is_file():
        raise RunError(f"recipe {recipe}: no such file; start from the root of the repository or give --recipe")
    if (directory / "metrics.jsonl").exists():
        raise RunError(
            f"run directory {directory}: it already holds a run, and verl would empty its metrics; choose another"
        )
    directory.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex
    environment = {**os.environ, **settings, "RUN_DIR": str(directory.resolve()), MARK: mark}
    with (directory / "trainer.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", str(recipe.resolve()), *overrides],
            # Ray's workers import from the driver's directory first: in a checkout, they would not use the wheel.
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        run = Run(process, mark, directory)
        try:
            yield run
        finally:
            end(run)
            process.wait()


def end(run: Run) -> None:
    """Ends every process of a run: a killed driver leaves those of Ray and vLLM behind, and vLLM's ignore SIGTERM."""
    import psutil

    for signal_number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        left = processes_of(run)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal_number)
        # Reaps the driver, which would otherwise be waited for as a zombie.
        run.process.poll()
        if not psutil.wait_procs(left, timeout=patience)[1] and not processes_of(run):
            return


def processes_of(run: Run) -> list:
    """Returns the living processes of a run, from psutil.

    They are found by session or by mark: Ray's processes overwrite their environment with a title but stay in the
    driver's session, and vLLM's may leave the session but keep their environment.
    """
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            in_session = os.getsid(process.pid) == run.process.pid
            is_ours = in_session or process.environ().get(MARK) == run.mark
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def reasons(log: Path, most: int = 3) -> list[str]:
    """Returns the last distinct lines of a log that name an error, without colours and Ray's prefixes.

    Where none does, these are the log's last lines.
    """
    lines = [
        _RAY_PREFIX.sub("", _COLOUR.sub("", line)).strip() for line in log.read_text(errors="replace").splitlines()
    ]
    named = list(dict.fromkeys(line for line in lines if _ERROR.match(line)))
    return (named or [line for line in lines if line])[-most:]
