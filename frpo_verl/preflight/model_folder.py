"""What the folder of a model says of the model."""

import json
from pathlib import Path
from typing import Any


def description(path: str | Path) -> dict[str, Any]:
    """A model's `config.json`.

    Args:
        path: `model.path` of one of verl's roles.

    Returns:
        What stands there; nothing where the model is no folder of this machine, or the file is not readable.
    """
    return _read(path) if is_readable(path) else {}


def is_readable(path: str | Path) -> bool:
    """Whether a model's `config.json` is a JSON object, if it is on this machine.

    Args:
        path: `model.path` of one of verl's roles.

    Returns:
        True where there is none.
    """
    try:
        return isinstance(_read(path), dict)
    except ValueError:
        return False


def _read(path: str | Path) -> Any:
    file = Path(path).expanduser() / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}
