"""Catches what a recipe would run: its command, before it starts, and the configuration that verl composes of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import command_lines

RECIPES = Path(__file__).parents[2] / "recipes"

PYTHON = f"""#!/bin/sh
if [ "$1" = -m ]; then
    printf '%s\\n' "$@" > "$CAUGHT"
    exit 0
fi
case "$3 $4" in
    "frpo_verl offline-data" | "frpo_verl report" | frpo_verl.quickstart.inputs* | study.*)
        printf '%s\\n' "$@" >> "$CAUGHT-before"
        exit 0
        ;;
esac
exec {sys.executable} "$@"
"""


class Caught(NamedTuple):
    """A recipe's end.

    Attributes:
        status: its exit status.
        said: what it printed.
        words: the command that it would have run, from `-m` on; empty where it ended before.
    """

    status: int
    said: str
    words: list[str]


def caught(recipe: str, folder: Path, *overrides: str, **knobs: str) -> Caught:
    """Runs a recipe up to verl.

    Args:
        recipe: the script's name.
        folder: for what it writes.
        *overrides: its arguments.
        **knobs: environment variables.

    Returns:
        How it ended.
    """
    programs = folder / "programs"
    if not programs.exists():
        programs.mkdir(parents=True)
        (programs / "python").write_text(PYTHON)
        (programs / "python").chmod(0o755)
    command = folder / "command"
    command.unlink(missing_ok=True)
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ} | {
        "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CAUGHT": str(command),
        "RUN_DIR": str(folder / "run"),
        **knobs,
    }
    process = subprocess.run(
        [shutil.which("bash") or "bash", RECIPES / recipe, *overrides],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    words = command.read_text().splitlines() if command.exists() else []
    return Caught(process.returncode, process.stdout + process.stderr, words)


def composed(run: Caught) -> Any:
    """The configuration that verl composes of a caught command, with every interpolation resolved.

    Args:
        run: what was caught.

    Returns:
        As nested dictionaries would be, verl's whole configuration.
    """
    assert run.status == 0, run.said
    return command_lines.composed(run.words)
