"""Finds out what a word of the command line names: dumps of verl's, graded responses, or a model to sample."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from frpo_verl.evaluation import dumps
from frpo_verl.preflight import model_folder

DUMPS, GRADED, MODEL = "dumps", "graded", "model"
MERGED_BY = {"fsdp": "fsdp_config.json", "megatron": "transformer_config.json"}
"""Backend of verl's model merger -> the file by which a checkpoint of it is known."""


class Source(NamedTuple):
    """Holds what a word names.

    Attributes:
        word: as it was given.
        kind: DUMPS, GRADED or MODEL.
        path: the folder of dumps, the file, or the model: a folder, or a name of the hub.
        dumps: the file of each step.
        backend: a key of `MERGED_BY` where verl's merger has to make a model of it first; else empty.
    """

    word: str
    kind: str
    path: Path
    dumps: dict[int, Path] = {}
    backend: str = ""


class Steps(NamedTuple):
    """Holds which steps are read, of which sources; and remarks about dumps that are not."""

    steps: dict[int, list[Source]]
    remarks: list[str]
    problems: list[str]


def recognise(word: str) -> Source | str:
    """Returns what a word names, or a sentence where that is nothing that can be evaluated."""
    path = Path(word).expanduser()
    if path.is_file():
        return _file(word, path)
    if not path.is_dir():
        _, _, rest = word.partition("=")
        if rest and Path(rest).expanduser().exists():
            return f"{word}: a source has no name here, as runs of `report` have; give {rest}"
        hub = "/" in word and not model_folder.is_path(word)
        return Source(word, MODEL, path) if hub else f"{word}: there is no such file or folder; correct the path"
    for folder in (path, path / "validation"):
        if files := dumps.files(folder):
            return Source(word, DUMPS, folder, files)
    if (path / "config.json").is_file():
        return Source(word, MODEL, path)
    if found := _checkpoint(word, path):
        return found
    return (
        f"{word}: nothing there can be evaluated; give a folder of STEP.jsonl (trainer.validation_data_dir or "
        "rollout_data_dir), a run's folder with validation/, a parquet file of graded responses, the folder of a "
        "Hugging Face model, or a checkpoint of verl's (global_step_N)"
    )


def steps_of(sources: Sequence[Source], limits: tuple[float, float] | None) -> Steps:
    """Chooses steps: those within the limits, both included, or without limits the last one that every source has.

    Args:
        sources: those of the kind DUMPS.
        limits: the first step and the last one; None: none are given.

    Returns:
        The steps in ascending order. A file without a whole last line is left out, and named, and so is a source that
        does not have a step of others.
    """
    first, last = limits or (-math.inf, math.inf)
    whole: dict[int, list[Source]] = {}
    remarks, problems = [], []
    for source in sources:
        for step in (step for step in source.dumps if first <= step <= last):
            if sentence := dumps.cut(source.dumps[step]):
                remarks.append(sentence)
            else:
                whole.setdefault(step, []).append(source)
    chosen = sorted(whole) if limits else [step for step in sorted(whole) if len(whole[step]) == len(sources)][-1:]
    for step in chosen:
        absent = [source.word for source in sources if source not in whole[step]]
        remarks += [f"step {step}: {word} has no whole dump of it" for word in absent]
    if sources and not chosen:
        have = "; ".join(f"{source.word}: {_few(sorted(source.dumps))}" for source in sources)
        which = "within --steps" if limits else "in every source"
        problems.append(f"no step has a whole dump {which} ({have}); wait for one, or give other --steps")
    return Steps({step: whole[step] for step in chosen}, remarks, problems)


def _file(word: str, path: Path) -> Source | str:
    if path.suffix == ".parquet":
        return Source(word, GRADED, path)
    if path.suffix == ".jsonl" and path.stem.isdecimal():
        return Source(word, DUMPS, path, {int(path.stem): path})
    return (
        f"{word}: it is neither STEP.jsonl, as verl dumps it, nor a parquet file of graded responses; give one of these"
    )


def _checkpoint(word: str, path: Path) -> Source | str | None:
    for folder in (path, path / "actor"):
        if _is_megatrons_adapter(folder):
            return (
                f"{word}: an adapter of Megatron's, which verl's merger does not add to the base that stands there; "
                "evaluate the validation dumps, or merge it by Megatron-Bridge and give that folder"
            )
        # saved next to the parts where checkpoint.save_contents has hf_model, and by Megatron's bridge; of an adapter
        # of FSDP's it has other names
        for whole in (folder / "huggingface", folder / "model" / "huggingface"):
            if any(whole.glob("*.safetensors")) and not (folder / "lora_train_meta.json").exists():
                return Source(word, MODEL, whole)
        for backend, mark in MERGED_BY.items():
            if (folder / mark).is_file():
                lacks = _undescribed(word, folder) if backend == "megatron" else None
                return lacks or Source(word, MODEL, folder, backend=backend)
    return None


def _undescribed(word: str, folder: Path) -> str | None:
    """Returns a sentence for Megatron's shards that verl saved without the model's configuration."""
    place = folder / "model" / "huggingface"
    if (place / "config.json").is_file():
        return None
    return (
        f"{word}: verl saved Megatron's shards without a config.json, which its merger reads; copy config.json "
        f"and the tokenizer's files of the model that was trained to {place}"
    )


def _is_megatrons_adapter(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "ckpt_contents.json").read_text())["backend"]["peft"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _few(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps[-3:])) if steps else "none"
