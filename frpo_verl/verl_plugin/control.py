"""β over the course of a run: fixed, or following the measured divergence, and kept across checkpoints."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frpo_verl.preflight.errors import CheckpointError, SettingsError
from frpo_verl.preflight.resumed import FILE, LARGEST_ERROR, read
from frpo_verl.preflight.settings import Settings

_controller: Any = None


def coefficient(chosen: Settings, algorithm: Mapping[str, Any]) -> float:
    """β of this step.

    Args:
        chosen: the run's settings.
        algorithm: verl's `algorithm` section, for verl's own controller.

    Returns:
        `kl_ctrl.kl_coef` when it is fixed, else the controller's value.
    """
    return _running(chosen, algorithm).value if chosen.adaptive else chosen.beta


def observe(chosen: Settings, divergence: float, responses: int) -> None:
    """Moves an adaptive β after a step, by verl's controller (arXiv 1909.08593, section 2.2).

        β ← β · (1 + clip(divergence / target_kl − 1, −0.2, 0.2) · responses / horizon)

    verl's own use averages over rows, rows without a valid token included; here padding counts nowhere.

    Args:
        chosen: the run's settings.
        divergence: the token mean over the valid tokens of the batch, in nats.
        responses: how many responses have a valid token.

    Raises:
        SettingsError: the horizon is so short that β would not stay positive.
    """
    if not chosen.adaptive:
        return
    _controller.update(current_kl=divergence, n_steps=responses)
    if _controller.value <= 0:
        raise SettingsError(
            f"algorithm.kl_ctrl.horizon={_controller.horizon}: a step of {responses} responses has taken β to "
            f"{_controller.value:g}; set it far above {LARGEST_ERROR * responses:.0f}"
        )


def reset() -> None:
    """Forgets the controller: the next step starts at `kl_ctrl.kl_coef`."""
    global _controller
    _controller = None


def save(folder: Path) -> None:
    """Writes the controller's state into a checkpoint's folder; nothing while β is fixed.

    Whole or not at all: a file of the state's size is written beside it, then renamed.

    Args:
        folder: verl's `global_step_N`; made when missing.

    Raises:
        CheckpointError: it cannot be written.
    """
    if _controller is None:
        return
    target, partial = folder / FILE, folder / f"{FILE}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w") as file:
            json.dump({"beta": _controller.value}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise CheckpointError(
            f"the state of the adaptive β cannot be written to {target}: {error.strerror}; make room, and resume from "
            "the last checkpoint, which is untouched"
        ) from error


def restore(chosen: Settings, algorithm: Mapping[str, Any], folder: Path) -> None:
    """Takes the controller's state from a checkpoint's folder.

    Args:
        chosen: the run's settings; nothing is read while β is fixed.
        algorithm: verl's `algorithm` section.
        folder: verl's `global_step_N`.

    Raises:
        CheckpointError: there is no state, or it is damaged: a run that goes on with another β is not the same run.
    """
    if not chosen.adaptive:
        return
    beta = read(folder)
    _running(chosen, algorithm).value = beta
    print(f"frpo-verl: beta={beta:g} resumed from {folder / FILE}")


def _running(chosen: Settings, algorithm: Mapping[str, Any]) -> Any:
    global _controller
    if _controller is None:
        from verl.trainer.ppo.core_algos import AdaptiveKLController

        kl_ctrl = algorithm.get("kl_ctrl")
        _controller = AdaptiveKLController(chosen.beta, kl_ctrl.get("target_kl"), kl_ctrl.get("horizon"))
    return _controller
