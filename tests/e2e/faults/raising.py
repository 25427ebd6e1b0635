"""Shared by the faults below: raise once the marker has been written, so that a test can measure from there."""

import os
from pathlib import Path


def fail(message: str) -> None:
    Path(os.environ["FAULT_MARKER"]).touch()
    raise RuntimeError(message)
