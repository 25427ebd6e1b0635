"""Reads the lines of verl's console logger in whatever was printed around them.

A line is `step:3 - actor/entropy:1.25 - …` (`concat_dict_to_str` in verl/utils/logger/aggregate_logger.py), behind the
name and the colours of a process of Ray.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from frpo_verl.evaluation.metrics import Record, left_out

STEP = re.compile(r"(?<![^\s\])|])step:(\d+) - (?=\S+:)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REPEATED = re.compile(r" ?\[repeated \d+x across cluster\].*")
# numpy 2 prints the type of its numbers, too
_NUMPY = re.compile(r"^np\.\w+\((.*)\)$")


def records(path: Path) -> Iterator[Record | str]:
    """Yields verl's lines, and notes on those of them that hold something else or are cut off."""
    unfit: dict[str, list[int]] = {}
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            text = _COLOUR.sub("", line)
            start = STEP.search(text)
            if start is None:
                continue
            pairs = _REPEATED.sub("", text[start.end() :]).strip().split(" - ")
            if not line.endswith("\n"):
                # the digits of the last number may be missing
                pairs.pop()
                unfit.setdefault("its last metric is half-written", []).append(number)
            metrics = {}
            for pair in pairs:
                name, value = _parsed(pair)
                if value is None:
                    unfit.setdefault(f"{name[:40]!r} is not a metric and a number", []).append(number)
                else:
                    metrics[name] = value
            yield Record(f"{path}, line {number}", int(start[1]), metrics)
    yield from left_out(path, unfit)


def _parsed(pair: str) -> tuple[str, float | None]:
    name, colon, value = pair.rpartition(":")
    try:
        return name, float(_NUMPY.sub(r"\1", value.strip())) if colon and name else None
    except ValueError:
        return pair, None
