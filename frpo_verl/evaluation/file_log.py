"""Reads the file of verl's file logger (`trainer.logger=[console,file]`, `VERL_FILE_LOGGER_PATH`)."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frpo_verl.evaluation.metrics import Record, left_out

CUT = "half-written"


def records(path: Path) -> Iterator[Record | str]:
    """Yields the lines, `{"step": int, "data": {name: number}}` (`FileLogger` in verl/utils/tracking.py), and notes.

    Lines end at b"\\n" only, because verl leaves the other separators of Unicode unescaped inside texts.
    """
    unfit: dict[str, list[int]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row, reason = _row(line)
            if reason:
                unfit.setdefault(reason, []).append(number)
            else:
                yield Record(f"{path}, line {number}", row["step"], numbers(row["data"]))
    yield from left_out(path, unfit)


def numbers(data: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line; what is a text or a list is no metric."""
    # orjson, which verl's file logger uses, writes NaN and infinity as null: dropping them would hide a divergence.
    known = {name: math.nan if value is None else value for name, value in data.items()}
    return {name: _float(value) for name, value in known.items() if isinstance(value, int | float)}


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _row(line: bytes) -> tuple[Any, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, "not JSON" if line.endswith(b"\n") else CUT
    is_verls = isinstance(row, dict) and isinstance(row.get("step"), int) and isinstance(row.get("data"), dict)
    return row, "" if is_verls else "not a JSON object with the number 'step' and the object 'data'"
