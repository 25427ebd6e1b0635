"""Joins what a log says of each step, whoever wrote the log, and says where it is not what it should be."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

NAMED = 3
"""Places that a sentence names before it counts the others."""


class RunLogError(ValueError):
    """A run's file is missing, empty, or not what verl writes; the message is one sentence for the user."""


class Step(NamedTuple):
    """One training step as verl logged it; step 0 is the validation before training."""

    step: int
    metrics: dict[str, float]  # not finite where verl logged such a number


class Record(NamedTuple):
    """Holds what one line of a log says of a step; `where` is its file and line."""

    where: str
    step: int
    metrics: Mapping[str, float]


class Log(NamedTuple):
    """A run's metrics, from `source`; a sentence on all that was left out; where a metric was not finite."""

    source: Path
    steps: list[Step]
    notes: list[str]
    not_finite: dict[str, list[str]]


def joined(source: Path, found: Iterable[Record | str]) -> Log:
    """Joins a log's records in their order; a word among them is a note.

    Records of one step are merged, a later value wins. Where a step that was left behind logs a metric for the second
    time, the run was resumed there: what was logged of that step and of later ones counts no more.
    """
    steps: dict[int, dict[str, float]] = {}
    places: dict[int, dict[str, str]] = {}
    notes, returns, last = [], [], -math.inf
    for record in found:
        if isinstance(record, str):
            notes.append(record)
            continue
        step = record.step
        is_again = bool(steps.get(step, {}).keys() & record.metrics.keys())
        if is_again and step == last:
            returns.append(f"{record.where}, has step {step} again")
        elif is_again:
            returns.append(f"{record.where}, goes back from step {last} to step {step}")
            for gone in [known for known in steps if known >= step]:
                del steps[gone], places[gone]
            last = step
        last = max(last, step)
        steps.setdefault(step, {}).update(record.metrics)
        unfit = {name for name, value in record.metrics.items() if not math.isfinite(value)}
        of_step = places.setdefault(step, {})
        for name in record.metrics:
            of_step.pop(name, None)
        of_step.update(dict.fromkeys(unfit, record.where))
    not_finite: dict[str, list[str]] = {}
    for step in sorted(places):
        for name, where in places[step].items():
            not_finite.setdefault(name, []).append(where)
    return Log(source, [Step(step, steps[step]) for step in sorted(steps)], notes + _resumed(returns), not_finite)


def places(numbers: Sequence[int], unit: str = "line") -> str:
    """Returns `line 3`, or `lines 3, 5 and 8`, or `lines 3, 5, 8 and 40 more`."""
    plural = "s" if len(numbers) > 1 else ""
    return f"{unit}{plural} {first([str(number) for number in numbers])}"


def first(names: Sequence[str], separator: str = ", ") -> str:
    """Returns `a`, or `a, b and c`, or `a, b, c and 40 more`."""
    named, more = list(names[:NAMED]), len(names) - NAMED
    last = f"{more} more" if more > 0 else named.pop()
    return f"{separator.join(named)} and {last}" if named else last


def left_out(path: Path, unfit: Mapping[str, Sequence[int]], unit: str = "line") -> list[str]:
    """Returns a sentence for each reason for which lines of a file were left out."""
    return [f"{path}, {places(numbers, unit)}: {reason}; left out" for reason, numbers in unfit.items()]


def _resumed(returns: Sequence[str]) -> list[str]:
    if len(returns) <= NAMED:
        return [f"{place}: the run was resumed there, and the later values count" for place in returns]
    return [f"{returns[0]}, and {len(returns) - 1} more do so: two runs may be writing to it; the later values count"]
