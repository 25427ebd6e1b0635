"""Reads the environment variables that a run is started with."""

import os


def is_on_cpu() -> bool:
    """Returns True where this process runs on the CPU platform: VERL_PLATFORM=cpu."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"
