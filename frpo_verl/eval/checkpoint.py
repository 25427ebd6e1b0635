"""Makes a model that vLLM loads of a checkpoint, by verl's own merger, in a process of its own."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from frpo_verl.eval.errors import EvalError
from frpo_verl.eval.sources import Source

_FROM = "merged_from.json"
_ADAPTER = "lora_adapter"


def name_of(source: Source) -> str:
    """Names what is made of a model: its last folders, and a hash, since every run has a `global_step_10`."""
    path = source.path.resolve() if source.path.exists() else source.path
    parts = [part for part in path.parts if part not in ("actor", "huggingface", "model", "checkpoints", "/")]
    return f"{'-'.join(parts[-2:])}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def model_of(source: Source, folder: Path) -> str:
    """Returns the model to load, which is merged first where that is necessary.

    Args:
        source: of the kind MODEL.
        folder: gets the merged model, which stays there; one of the same files is used again.

    Returns:
        A folder, or the hub's name.

    Raises:
        EvalError: the merger failed.
    """
    if not source.backend:
        return str(source.path) if source.path.exists() else source.word
    made = folder / f"{name_of(source)}.merged"
    files = _files(source.path)
    with contextlib.suppress(OSError, ValueError):
        if json.loads((made / _FROM).read_text()) == files:
            return str(made)
    unfinished = made.with_suffix(".merging")
    for there in (made, unfinished):
        shutil.rmtree(there, ignore_errors=True)
    print(f"frpo-verl: {source.word}: verl's merger makes a model of it, {made}", file=sys.stderr)
    _merge(source, unfinished)
    if (unfinished / _ADAPTER).is_dir():
        _merge_adapter(source, unfinished)
    (unfinished / _FROM).write_text(json.dumps(files))
    unfinished.rename(made)
    return str(made)


def _merge(source: Source, target: Path) -> None:
    command = [sys.executable, "-P", "-m", "verl.model_merger", "merge", "--backend", source.backend]
    command += ["--local_dir", str(source.path), "--target_dir", str(target)]
    if source.backend == "megatron" and _is_tied(source.path):
        command.append("--tie-word-embedding")
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise EvalError(
            f"{source.word}: verl's merger ended with {ended.returncode} ({' | '.join(said[-2:])[-400:]}); correct the "
            f"checkpoint, or see all it says: {' '.join(command[3:])}"
        )


def _merge_adapter(source: Source, folder: Path) -> None:
    """Adds a LoRA adapter to the model that it stands next to, which vLLM would sample without it."""
    config = json.loads((folder / _ADAPTER / "adapter_config.json").read_text())
    if not config.get("lora_alpha"):
        raise EvalError(
            f"{source.word}: its LoRA adapter has lora_alpha={config.get('lora_alpha')}, at which it does nothing; put "
            "lora_train_meta.json into the checkpoint, as verl's trainer writes it"
        )
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    # verl's merger writes bfloat16; the sum is rounded once
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), folder / _ADAPTER)
    model.merge_and_unload().bfloat16().save_pretrained(folder)
    shutil.rmtree(folder / _ADAPTER)


def _files(folder: Path) -> dict[str, Any]:
    """Returns what tells a checkpoint from an earlier one in the same place."""
    files = (
        file for file in sorted(folder.rglob("*")) if file.is_file() and "optim" not in str(file.relative_to(folder))
    )
    return {str(file.resolve()): [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


def _is_tied(folder: Path) -> bool:
    config = json.loads((folder / "model" / "huggingface" / "config.json").read_text())
    return bool(config.get("tie_word_embeddings"))
