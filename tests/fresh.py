"""Runs programs in processes that have what takes long of importing verl, but neither verl nor the plugin."""

import multiprocessing
import os
import subprocess
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS = 120

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tensordict", "transformers", "ray", "hydra"])


def python(program: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a program to its end, with more in its environment."""
    with TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _PROCESSES.Process(target=_run, args=(program, environment, *said))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(program, SECONDS)
        return subprocess.CompletedProcess(program, process.exitcode, *(path.read_text() for path in said))


def _run(program: str, environment: dict[str, str], *said: Path) -> None:
    os.environ.update(environment)
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    warnings.simplefilter("ignore")
    exec(program, {"__name__": "__main__"})
