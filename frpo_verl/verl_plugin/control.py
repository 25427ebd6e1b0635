"""Keeps β over the course of a run, fixed or following the measured divergence, and writes a run's state."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frpo_verl.preflight.errors import CheckpointError, SettingsError
from frpo_verl.preflight.resumed import FILE, LARGEST_ERROR, read
from frpo_verl.preflight.settings import Settings


def forget(folder: Path) -> None:
    """Removes the state that an earlier run has left in the folder of a checkpoint that is written anew."""
    if (folder / FILE).is_file():
        (folder / FILE).unlink()


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes a run's state into verl's `global_step_N`, whole or not at all; an empty one leaves no file there."""
    if not state:
        forget(folder)
        return
    target, partial = folder / FILE, folder / f"{FILE}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise CheckpointError(
            f"the state of the run ({', '.join(state)}) cannot be written to {target}: {error.strerror}; make room, "
            "and resume from the last checkpoint, which is untouched"
        ) from error


class Coefficient:
    """β of a run: `kl_ctrl.kl_coef`, or, with `kl_ctrl.type=adaptive`, the value of verl's own controller."""

    def __init__(self, chosen: Settings, algorithm: Mapping[str, Any]) -> None:
        self._fixed, self._controller = chosen.beta, None
        if chosen.adaptive:
            from verl.trainer.ppo.core_algos import AdaptiveKLController

            of_control = algorithm.get("kl_ctrl")
            self._controller = AdaptiveKLController(chosen.beta, of_control.get("target_kl"), of_control.get("horizon"))

    @property
    def value(self) -> float:
        """Returns β of the coming step."""
        return self._fixed if self._controller is None else self._controller.value

    def observe(self, divergence: float, responses: int) -> None:
        """Moves an adaptive β after a step, by verl's controller (arXiv 1909.08593, section 2.2).

            β ← β · (1 + clip(divergence / target_kl − 1, −0.2, 0.2) · responses / horizon)

        The divergence is the mean over valid tokens, in nats, and only responses with a valid token count; verl's own
        use averages over rows, those without a valid token included.
        """
        if self._controller is None:
            return
        self._controller.update(current_kl=divergence, n_steps=responses)
        if self._controller.value <= 0:
            raise SettingsError(
                f"algorithm.kl_ctrl.horizon={self._controller.horizon}: a step of {responses} responses has taken β to "
                f"{self._controller.value:g}; set it far above {LARGEST_ERROR * responses:.0f}"
            )

    @property
    def state(self) -> dict[str, Any]:
        """Returns what belongs into a checkpoint: an adaptive β."""
        return {} if self._controller is None else {"beta": self._controller.value}

    def restore(self, folder: Path) -> None:
        """Takes an adaptive β from verl's `global_step_N`; a run that resumes with another β is not the same run."""
        if self._controller is None:
            return
        self._controller.value = read(folder)
        print(f"frpo-verl: beta={self._controller.value:g} resumed from {folder / FILE}")
