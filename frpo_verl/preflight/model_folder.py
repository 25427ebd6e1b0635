"""Reads the folder of a model without loading it."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any


def is_path(model: str) -> bool:
    """Returns True for what can only be a folder; the hub's names are NAME or OWNER/NAME."""
    return model.startswith(("/", ".", "~")) or model.count("/") > 1


def description(path: str | Path) -> dict[str, Any]:
    """Returns a model's `config.json`; {} where the model is not a folder of this machine or the file is unreadable."""
    return _read(path) if is_readable(path) else {}


def size(path: str | Path, key: str) -> int | None:
    """Returns a whole number of a model's `config.json`, which one with images has in its `text_config`; else None."""
    described = description(path)
    inner = described.get("text_config")
    value = described.get(key, inner.get(key) if isinstance(inner, dict) else None)
    return value if isinstance(value, int) else None


def is_readable(path: str | Path) -> bool:
    """Returns False if a model's `config.json` is on this machine and not a JSON object."""
    try:
        return isinstance(_read(path), dict)
    except ValueError:
        return False


def parameters(path: str | Path) -> int | None:
    """Returns the number of parameters in a folder's safetensors files; None where none can be read."""
    from safetensors import SafetensorError, safe_open

    count = 0
    try:
        for file in Path(path).expanduser().glob("*.safetensors"):
            with safe_open(file, framework="numpy") as opened:
                count += sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    except SafetensorError:
        return None
    return count or None


def tokenizer(load: Callable[[], Any], where: str) -> tuple[Any, list[str]]:
    """Loads a tokenizer that `where` names; returns a sentence where there is none."""
    try:
        found = load()
    # transformers raises whatever the library of that tokenizer does
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        return None, [f"{where}: its tokenizer cannot be loaded ({reason}); correct the name, or download the model"]
    # transformers makes an empty one of a folder without its files
    if not found("a")["input_ids"]:
        return None, [f"{where}: its folder has no files of a tokenizer; put them there"]
    return found, []


def _read(path: str | Path) -> Any:
    file = Path(path).expanduser() / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}
