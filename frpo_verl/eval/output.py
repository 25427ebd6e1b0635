"""Writes results as a table, as JSON and as CSV."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frpo_verl.eval.measured import Estimate
from frpo_verl.evaluation.dumps import ALL
from frpo_verl.evaluation.intervals import Interval
from frpo_verl.evaluation.tables import number

METHODS = {
    "pass@k": "unbiased, 1 - C(n-c, k) / C(n, k)",
    "best@k": "bootstrap of 1,000 resamples of k with replacement, verl's best@k/mean and best@k/std",
    "mean@k": "mean score of all n samples, which is that of any k of them",
    "maj@k": "expected score of the most frequent answer, over all choices of k of n",
    "over problems": "percentile bootstrap, 10,000 resamples of the problems, 95 %",
    "over seeds": "mean and Student's t, 95 %",
}
"""Names what stands in the JSON file, so that nobody has to guess."""


class Result(NamedTuple):
    """Holds the estimates of a step and a data source.

    Attributes:
        step: of verl's dumps; None for other sources.
        data_source: by which verl's rewards grade, or `ALL`.
        seeds: the sources, each a seed.
        problems: how many.
        samples: of the problem with fewest, and of that with most.
        estimates: of `measured`.
    """

    step: int | None
    data_source: str
    seeds: list[str]
    problems: int
    samples: tuple[int, int]
    estimates: list[Estimate]


def table(results: Sequence[Result]) -> str:
    """Returns the results as aligned plain text."""
    return "\n\n".join(_block(result) for result in results)


def write_json(file: Path, results: Sequence[Result], about: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all; `about` is what else it says."""
    _write(file, json.dumps(about | {"methods": METHODS, "results": list(_rows(results))}, indent=1) + "\n")


def write_csv(file: Path, results: Sequence[Result]) -> None:
    """Writes a CSV file whole or not at all, a row for each estimate; seeds and by_seed joined by ;."""
    text, rows = io.StringIO(), list(_rows(results))
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["step"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        row | {"seeds": ";".join(row["seeds"]), "by_seed": ";".join(map(str, row["by_seed"]))} for row in rows
    )
    _write(file, text.getvalue())


def _block(result: Result) -> str:
    least, most = result.samples
    head = [f"step {result.step}"] * (result.step is not None) + [result.data_source] * (result.data_source != ALL)
    head.append(f"{result.problems} problems x {least if least == most else f'{least} to {most}'} samples")
    head.append(f"{len(result.seeds)} seeds" if len(result.seeds) > 1 else result.seeds[0])
    rows = [("", "value", "95 % over problems", "95 % over seeds", "bootstrap deviation")]
    for each in result.estimates:
        name = each.quantity if each.k is None else each.quantity.replace("@k", f"@{each.k}")
        spread = "-" if each.deviation is None else number(each.deviation)
        rows.append((name, number(each.value), _ends(each.problems), _ends(each.seeds), spread))
    kept = [column for column in zip(*rows, strict=True) if set(column[1:]) != {"-"}]
    widths = [max(map(len, column)) for column in kept]
    lines = (
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in zip(*kept, strict=True)
    )
    return "\n".join([", ".join(head), *(line.rstrip() for line in lines)])


def _ends(interval: Interval | None) -> str:
    return "-" if interval is None else f"{number(interval.low)} to {number(interval.high)}"


def _rows(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    for result in results:
        for each in result.estimates:
            low, high = each.problems or (None, None)
            seeds_low, seeds_high = each.seeds or (None, None)
            yield {
                "step": result.step,
                "data_source": result.data_source,
                "quantity": each.quantity,
                "k": each.k,
                "value": each.value,
                "problems_low": low,
                "problems_high": high,
                "seeds_low": seeds_low,
                "seeds_high": seeds_high,
                "deviation": each.deviation,
                "by_seed": each.by_seed,
                "seeds": result.seeds,
                "problems": result.problems,
                "least_samples": result.samples[0],
                "most_samples": result.samples[1],
            }


def _write(file: Path, text: str) -> None:
    if file.exists() and not file.is_file():
        # a pipe or a device, which a renamed file would replace
        file.write_text(text, encoding="utf-8")
        return
    partial = file.with_name(f"{file.name}.writing")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
