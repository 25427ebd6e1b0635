"""Saves and restores a run's state, an adaptive β for one, with verl's checkpoints, in the folder `global_step_N`."""

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frpo_verl.preflight import settings
from frpo_verl.preflight.errors import CheckpointError
from frpo_verl.preflight.resumed import LATEST
from frpo_verl.verl_plugin import control, run

_TORCHS_WRITER = ("iostream error", "PytorchStreamWriter", "inline_container.cc", "No space left on device")
"""Parts of what torch says, from inside a worker, when a file cannot be written."""

_FIX = "make room or choose another trainer.default_local_dir, and start again with trainer.resume_mode=auto"


def save_before(host: Callable, trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Writes the state, then lets verl write the rest, since verl's last file is what makes a checkpoint count.

    Raises CheckpointError where a file cannot be written; it names the last checkpoint that counts. Any other error of
    verl's save is raised as it is, with a note.
    """
    algorithm = trainer.config.algorithm
    folder, step = Path(trainer.config.trainer.default_local_dir).absolute(), _step(trainer)
    if not settings.asks_for_future(algorithm):
        control.forget(folder / f"global_step_{step}")
        return host(trainer, *args, **kwargs)
    try:
        run.of(algorithm).save(folder / f"global_step_{step}")
        return host(trainer, *args, **kwargs)
    except Exception as error:
        if _is_of_writing(error):
            raise CheckpointError(f"{_not_saved(folder, step, _reason(error))}: {_FIX}") from error
        error.add_note(f"frpo-verl: {_not_saved(folder, step, type(error).__name__)}")
        raise


def restore_after(host: Callable, trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Lets verl load what it resumes from, then begins the run anew and takes its state from there.

    The host is a trainer's `_load_checkpoint`, or fully-async's `load_checkpoint`, a coroutine. Raises CheckpointError
    where it is missing or damaged.
    """
    if inspect.iscoroutinefunction(host):
        return _restore_after(host, trainer, *args, **kwargs)
    result = host(trainer, *args, **kwargs)
    _restore(trainer)
    return result


async def _restore_after(host: Callable, trainer: Any, *args: Any, **kwargs: Any) -> Any:
    result = await host(trainer, *args, **kwargs)
    _restore(trainer)
    return result


def _restore(trainer: Any) -> None:
    run.end()
    algorithm, step, of_trainer = trainer.config.algorithm, _step(trainer), trainer.config.trainer
    if not step or not settings.asks_for_future(algorithm):
        return
    resumed = of_trainer.resume_from_path if of_trainer.resume_mode == "resume_path" else None
    folder = Path(resumed or Path(of_trainer.default_local_dir) / f"global_step_{step}").absolute()
    run.of(algorithm).restore(folder)


def _step(trainer: Any) -> int:
    # Fully-async names its checkpoints by the version of the parameters.
    return getattr(trainer, "current_param_version", trainer.global_steps)


def _is_of_writing(error: Exception) -> bool:
    # What Ray raises for a worker is an instance of the worker's exception class too.
    if isinstance(error, ConnectionError | TimeoutError):
        return False
    return isinstance(error, OSError | CheckpointError) or any(part in str(error) for part in _TORCHS_WRITER)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _not_saved(folder: Path, step: int, reason: str) -> str:
    tracker = folder / LATEST
    last = f"global_step_{tracker.read_text()}" if tracker.is_file() else "none yet"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free >> 20
    return (
        f"the checkpoint of step {step} could not be written to {folder} ({reason}), where {free} MiB are free; the "
        f"last one that counts, {last}, is untouched"
    )
