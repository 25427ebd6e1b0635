"""Reads the state of the checkpoint that verl would resume from: an adaptive β, the memory of a fitted baseline."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frpo_verl.advantage.weights import SIZE
from frpo_verl.preflight.errors import CheckpointError

LATEST = "latest_checkpointed_iteration.txt"
"""verl's file that names the last complete checkpoint."""

FILE = "frpo_verl.json"
"""Name of the state's file in verl's `global_step_N` folder."""

BASELINE = "baseline"
"""The key of a fitted baseline's moments there."""

LARGEST_ERROR = 0.2
"""verl's bound of the relative error that moves β."""


def resumed(of_trainer: Mapping[str, Any]) -> Path | None:
    """Returns the folder of the checkpoint that verl would resume from; None where this machine sees none."""
    mode, folder = of_trainer.get("resume_mode"), None
    if mode == "resume_path":
        folder = Path(str(of_trainer.get("resume_from_path")))
    elif mode == "auto":
        tracker = Path(of_trainer.default_local_dir) / LATEST
        folder = tracker.parent / f"global_step_{tracker.read_text().strip()}" if tracker.is_file() else None
    return folder.absolute() if folder is not None and folder.is_dir() else None


def read(folder: Path) -> float:
    """Returns β of the step after a checkpoint; a folder without it, or a damaged file, is a CheckpointError."""
    file = folder / FILE
    try:
        beta = json.loads(file.read_text())["beta"]
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} is missing: the checkpoint was written without an adaptive β of frpo-verl, or the file was lost; "
            "resume from an earlier checkpoint that has it or with algorithm.kl_ctrl.type=fixed, or "
            'write {"beta": frpo/beta of the step after it in the log} into that file; the step\'s own is from before '
            "it was moved"
        ) from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); resume from an earlier checkpoint") from None
    if not isinstance(beta, int | float) or not math.isfinite(beta) or beta <= 0:
        raise CheckpointError(f"{file} holds beta={beta}; resume from an earlier checkpoint")
    return float(beta)


def earlier(folder: Path) -> list[list[float]] | None:
    """Returns the moments of the batches before a checkpoint; None where it has none; a damaged file is an error."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text()).get(BASELINE)
        values = [] if found is None else [float(value) for row in found for value in row]
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); resume from an earlier checkpoint") from None
    if found is not None and (
        [len(row) for row in found] != [SIZE] * SIZE or not all(math.isfinite(value) for value in values)
    ):
        raise CheckpointError(
            f"{file} holds no {SIZE} × {SIZE} finite numbers for {BASELINE}; resume from an earlier checkpoint"
        )
    return found
