"""The plugin's part of verl's checkpoints: the state of an adaptive β, beside the actor in `global_step_N`."""

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frpo_verl.preflight import settings
from frpo_verl.preflight.errors import CheckpointError
from frpo_verl.preflight.resumed import LATEST
from frpo_verl.verl_plugin import control


def save_before(host: Callable, trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Writes the state, then lets verl write the rest: verl's last word makes a checkpoint count.

    Args:
        host: a trainer's `_save_checkpoint`.
        trainer: the trainer.
        *args: passed on.
        **kwargs: passed on.

    Returns:
        What the host returns.

    Raises:
        CheckpointError: the state, or verl's part, cannot be written; it names the last checkpoint that counts.
    """
    if not settings.asks_for_future(trainer.config.algorithm):
        return host(trainer, *args, **kwargs)
    folder = Path(trainer.config.trainer.default_local_dir).absolute()
    try:
        control.save(folder / f"global_step_{_step(trainer)}")
        return host(trainer, *args, **kwargs)
    except Exception as error:
        # On a full disk torch says "iostream error" from inside a worker, and nothing else.
        raise CheckpointError(_not_saved(folder, _step(trainer), error)) from error


def _not_saved(folder: Path, step: int, error: Exception) -> str:
    tracker = folder / LATEST
    last = f"global_step_{tracker.read_text()}" if tracker.is_file() else "none yet"
    reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free >> 20
    return (
        f"the checkpoint of step {step} could not be written to {folder} ({reason[0]}), where {free} MiB are free; the "
        f"last one that counts, {last}, is untouched: make room or choose another trainer.default_local_dir, and start "
        "again with trainer.resume_mode=auto"
    )


def restore_after(host: Callable, trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Lets verl load what it resumes from, then takes the state from there.

    Args:
        host: a trainer's `_load_checkpoint`, or fully-async's `load_checkpoint`, a coroutine.
        trainer: the trainer.
        *args: passed on.
        **kwargs: passed on.

    Returns:
        What the host returns.

    Raises:
        CheckpointError: the state is missing or damaged.
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
    control.reset()
    algorithm, step = trainer.config.algorithm, _step(trainer)
    if not step or not settings.asks_for_future(algorithm):
        return
    of_trainer = trainer.config.trainer
    resumed = of_trainer.resume_from_path if of_trainer.resume_mode == "resume_path" else None
    folder = Path(resumed or Path(of_trainer.default_local_dir) / f"global_step_{step}").absolute()
    control.restore(settings.read(algorithm), algorithm, folder)


def _step(trainer: Any) -> int:
    # Fully-async names its checkpoints by the version of the parameters.
    return getattr(trainer, "current_param_version", trainer.global_steps)
