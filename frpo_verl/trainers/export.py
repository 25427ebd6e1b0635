"""Writes the policy as a folder that vLLM and transformers load, while it trains."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

LARGEST = 4 * 2**30
"""Bytes of weights in one file, and in memory at once."""


def write(engine: Any, model: Path, folder: Path, writes: bool) -> None:
    """Exports the engine's weights under Hugging Face's names, with all else of the model's folder.

    Every rank takes part, since the weights are spread over all. An adapter is merged where `model.lora.merge` is True.

    Args:
        engine: verl's, of the policy.
        model: the folder that the policy was loaded from.
        folder: where to; what is there is replaced.
        writes: True on the one rank that writes.
    """
    parameters, _ = engine.get_per_tensor_param()
    if not writes:
        for _ in parameters:
            pass
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in model.iterdir():
        if file.is_file() and not file.name.endswith((".safetensors", ".bin", ".pt", ".index.json", ".gguf")):
            shutil.copyfile(file, folder / file.name)
    _weights(parameters, folder, _dtype(model))


def _weights(parameters: Iterator[tuple[str, torch.Tensor]], folder: Path, dtype: torch.dtype) -> None:
    from safetensors.torch import save_file

    where: dict[str, str] = {}
    held: dict[str, torch.Tensor] = {}

    def save() -> None:
        name = f"model-{len(set(where.values())):05d}.safetensors"
        save_file(held, folder / name, {"format": "pt"})
        where.update(dict.fromkeys(held, name))
        held.clear()

    size = 0
    for name, parameter in parameters:
        kept = parameter.detach().to("cpu", dtype if parameter.is_floating_point() else parameter.dtype)
        if held and size + kept.nbytes > LARGEST:
            save()
            size = 0
        # a copy: the CPU's tensor is the policy's own
        held[name] = kept.clone().contiguous()
        size += kept.nbytes
    save()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def _dtype(model: Path) -> torch.dtype:
    """Returns the dtype of the model's own configuration."""
    config = json.loads((model / "config.json").read_text())
    return getattr(torch, config.get("dtype") or config.get("torch_dtype") or "bfloat16")
