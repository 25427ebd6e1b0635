"""Tells the faults when to happen, and leaves a mark from which a test measures how soon the run ended."""

import os
from pathlib import Path

MARKER = Path(os.environ["FAULT_MARKER"])


def is_due() -> bool:
    """Tells whether as many steps as FAULT_AFTER_STEPS asks for are logged."""
    log = MARKER.with_name("metrics.jsonl")
    return log.exists() and log.read_text().count("\n") >= int(os.environ["FAULT_AFTER_STEPS"])


def fail(message: str) -> None:
    """Raises, once the marker has been written."""
    MARKER.touch()
    raise RuntimeError(message)
