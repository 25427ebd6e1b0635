"""The folder that sets are built in."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources are files next to it."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"
