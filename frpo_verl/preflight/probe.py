"""Finds out what one process knows of the plugin.

It is sent to Ray's workers by value, so that it also runs where frpo-verl is not installed: it uses the standard
library, and everything that it uses of this project is in this file.
"""

import contextlib
import importlib
import importlib.metadata
import io
import os
import platform
import socket
import sys
from typing import Any

PLUGIN = "frpo_verl.verl_plugin"


def examine() -> dict[str, Any]:
    """Imports verl, as a trainer or a worker does, and reports what became of the plugin.

    Returns:
        `host`, `python`, `verl` and `frpo_verl` (versions or None), `location` (of frpo_verl), `entry_points` (ours by
        name), `policy` and `modules` (verl's two variables), `active`, and the errors `frpo_verl_error`, `verl_error`
        and `plugin_error` (sentences or None).
    """
    # What the plugin prints when it fails is in `plugin_error`.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        frpo_verl_error = _import_error("frpo_verl")
        verl_error = _import_error("verl")
        install = sys.modules.get(f"{PLUGIN}.install")
        active = install is not None and hasattr(install, "is_active") and install.is_active()
        # Only now: this import would activate what verl did not.
        plugin_error = None if active or frpo_verl_error else _import_error(PLUGIN)
    package = sys.modules.get("frpo_verl")
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "verl": _version("verl"),
        "frpo_verl": getattr(package, "__version__", None),
        "location": next(iter(getattr(package, "__path__", [])), None),
        "entry_points": _our_entry_points(),
        "policy": os.environ.get("VERL_USE_EXTERNAL_PLUGINS"),
        "modules": os.environ.get("VERL_USE_EXTERNAL_MODULES"),
        "active": active,
        "frpo_verl_error": frpo_verl_error,
        "verl_error": verl_error,
        "plugin_error": plugin_error,
    }


def _import_error(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except Exception as error:
        # Whatever is raised is what was asked for.
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _our_entry_points() -> list[str]:
    points = importlib.metadata.entry_points(group="verl.plugins")
    return sorted({point.name for point in points if point.value.split(":")[0] == PLUGIN})
