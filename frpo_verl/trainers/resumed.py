"""Keeps a run from continuing another run's checkpoints, which verl's trainer would load without a word."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEPT = "fpa_run.json"
"""In `trainer.default_local_dir`: the settings of the run whose checkpoints are there."""

KEYS = ("model.path", "data.train_files", "data.train_batch_size", "data.pairs_per_prompt", "data.seed")
"""Keys that make it another run, besides the section `fpa`: weights, and which items a step has."""


def problems(config: Any) -> Iterator[str]:
    """Yields the settings in which a run differs from the one that it would go on with."""
    folder = Path(config.trainer.default_local_dir)
    if config.trainer.resume_mode != "auto" or not any(folder.glob("global_step_*")):
        return
    try:
        earlier = json.loads((folder / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    # a setting that an earlier release did not have was at its default
    said = {key: value for key, value in _said(config).items() if key in earlier}
    changed = [f"{key}={value} (was {earlier[key]})" for key, value in said.items() if earlier[key] != value]
    if changed:
        yield (
            f"trainer.default_local_dir={folder}: it has checkpoints of a run with other settings, and this one would "
            f"go on with them: {', '.join(changed)}; set another trainer.experiment_name"
        )


def remember(config: Any) -> None:
    """Writes the settings next to the checkpoints."""
    folder = Path(config.trainer.default_local_dir)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{KEPT}.partial"
    partial.write_text(json.dumps(_said(config)), encoding="utf-8")
    partial.replace(folder / KEPT)


def _said(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    of_method = {f"fpa.{key}": value for key, value in OmegaConf.to_container(config.fpa, resolve=True).items()}
    others = {key: OmegaConf.select(config, key) for key in KEYS}
    others = {key: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for key, v in others.items()}
    return of_method | others
