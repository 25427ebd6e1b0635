"""Finds what a run trained on in the command line that it recorded."""

import re
import shlex
from pathlib import PurePosixPath
from typing import NamedTuple

from frpo_verl.evaluation.metrics import RunLogError


class Command(NamedTuple):
    """The command line of a run and what it says; see `parse_command`."""

    text: str
    model: str
    task: str
    estimator: str
    seed: str


_MAIN = re.compile(r"\bmain_\w+(\.py)?$")

UNRECORDED = Command("", *["not recorded"] * 4)
"""That of a run without command.txt."""


def parse_command(text: str) -> Command:
    """Finds model, task, estimator and seed in a command line of verl's trainer.

    What the command line does not set is described as the default of verl or of the named config; of another program's
    nothing is known. Raises `RunLogError` where its quotes do not match.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise RunLogError(f"the recorded command is not a shell command line ({error}): {text!r}.") from error
    shown = " ".join(text.replace("\\\n", " ").split())
    # Hydra's + and ++ add or force a key, its own quotes hold a path together, and -cn, --config-name take the name
    # with = or as the next word.
    keys = {key: value.strip("'") for key, value in (word.lstrip("+").split("=", 1) for word in words if "=" in word)}
    config = next((name for flag, name in zip(words, words[1:], strict=False) if flag in ("--config-name", "-cn")), "")
    config = keys.get("--config-name", keys.get("-cn", config))
    if not config and not any("." in key for key in keys) and not any(map(_MAIN.search, words)):
        return UNRECORDED._replace(text=shown)
    default = f"{config}'s default" if config else "verl's default"
    estimator = keys.get("algorithm.adv_estimator", default if config else "gae")
    if keys.get("algorithm.kl_mode") == "future":
        estimator += " + future KL"
    if "frpo_verl.trainers.fpa" in words:
        estimator = f"{keys.get('fpa.loss', 'outcome')}, lambda {keys.get('fpa.lam', '1')}"
    seeds = [f"{key}={value}" for key, value in keys.items() if key.split(".")[-1] in ("seed", "data_loader_seed")]
    return Command(
        text=shown,
        model=PurePosixPath(keys.get("actor_rollout_ref.model.path", keys.get("model.path", default))).name,
        task=_task(keys.get("data.val_files", keys.get("data.train_files", default))),
        estimator=estimator,
        seed=", ".join(seeds) or f"{default} (the command sets none)",
    )


def _task(files: str) -> str:
    # The last part of .../gsm8k/test.parquet names the split, the one before it the task.
    names = []
    for file in files.strip("[]").split(","):
        path = PurePosixPath(file.strip(" '\""))
        is_split = path.stem in ("train", "test", "val", "validation") and path.parent.name
        names.append(path.parent.name if is_split else path.stem)
    return ", ".join(dict.fromkeys(names))
