"""The plugin's part of verl's checkpoints: the state of an adaptive β, beside the actor in `global_step_N`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frpo_verl.verl_plugin import control, settings


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
        CheckpointError: the state cannot be written.
    """
    if settings.asks_for_future(trainer.config.algorithm):
        control.save(Path(trainer.config.trainer.default_local_dir).absolute() / f"global_step_{_step(trainer)}")
    return host(trainer, *args, **kwargs)


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
