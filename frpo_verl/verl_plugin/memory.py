"""Keeps what `baseline=fitted` remembers of earlier batches, and says where a baseline costs variance."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frpo_verl.advantage import Fit, no_moments, remembered
from frpo_verl.preflight import resumed
from frpo_verl.preflight.settings import Settings

PATIENCE = 10
"""Steps in a row with a negative R² after which a run is told, once."""


class Memory:
    """The moments of a run's earlier batches, decayed; zeros at first, and always without `baseline=fitted`."""

    def __init__(self, chosen: Settings) -> None:
        self._kind, self._moments, self._negative = chosen.variant.baseline, no_moments(), 0

    @property
    def moments(self) -> Tensor:
        """Returns what the coming batch is fitted with besides its other groups."""
        return self._moments

    def observe(self, fit: Fit) -> None:
        """Remembers a batch after its use, and counts the steps in a row in which the baseline did harm."""
        if self._kind == "fitted":
            self._moments = remembered(self._moments, fit.moments)
        self._negative = self._negative + 1 if fit.r2 < 0 else 0
        if self._negative == PATIENCE:
            print(
                f"frpo-verl: algorithm.frpo.baseline={self._kind}: frpo/baseline_r2 has been negative for {PATIENCE} "
                "steps in a row, so that the baseline adds to the weights' variance; set algorithm.frpo.baseline=none, "
                "or take more prompts into a step",
                file=sys.stderr,
            )

    @property
    def state(self) -> dict[str, Any]:
        """Returns what belongs into a checkpoint."""
        return {resumed.BASELINE: self._moments.tolist()} if self._kind == "fitted" else {}

    def restore(self, folder: Path) -> None:
        """Takes the moments from verl's `global_step_N`; a checkpoint without them is one of another baseline."""
        if self._kind != "fitted":
            return
        found = resumed.earlier(folder)
        self._moments = no_moments() if found is None else torch.tensor(found, dtype=torch.float64)
        of = "no earlier batches, of which there are none in" if found is None else "the earlier batches of"
        print(f"frpo-verl: baseline=fitted continues with {of} {folder / resumed.FILE}")
