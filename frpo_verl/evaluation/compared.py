"""Compares methods by what their runs measured, at the steps that all seeds of a method have."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from frpo_verl.evaluation.learned import held_out
from frpo_verl.evaluation.run_log import finished_dumps, read_metrics, read_validation
from frpo_verl.evaluation.series import DIVERGENCE, ENTROPY, REWARD, series

HELD_OUT = "held-out pass@1"
LOGGED = {
    "reward (training)": REWARD,
    "entropy, nats/token": ENTROPY,
    "divergence to the reference, nats/token": DIVERGENCE,
}
"""The quantities of the metrics; before them stands `HELD_OUT`, of the validation dumps."""

Values = dict[int, list[float]]
"""The value of each seed, by step."""


class Quantity(NamedTuple):
    """One quantity of all methods; a method that did not measure it has no steps."""

    title: str
    methods: dict[str, Values]


class Comparison(NamedTuple):
    """Methods side by side: how many seeds each has, and the quantities that any of them measured."""

    seeds: dict[str, int]
    quantities: tuple[Quantity, ...]


def compare(methods: Mapping[str, Sequence[Path]], correct_at: float = 1.0, score_key: str = "score") -> Comparison:
    """Reads all runs.

    Args:
        methods: the folders of each method's runs, one for each seed.
        correct_at: a held-out sample is correct when its score is at least this.
        score_key: the field of the validation dumps to read as the score.

    Returns:
        The methods in their order. Where no run measured anything, all quantities are there, without steps.

    Raises:
        RunLogError: a file of a run cannot be read.
    """

    def of_run(run: Path) -> dict[str, dict[int, float]]:
        steps, dumps = read_metrics(run / "metrics.jsonl"), run / "validation"
        found = {name: series(steps, metrics).points for name, metrics in LOGGED.items()}
        solved = held_out(1, read_validation(dumps, score_key) if finished_dumps(dumps) else {}, correct_at)
        return found | {HELD_OUT: {point.step: point.value for point in solved.points}}

    read = {name: [of_run(run) for run in runs] for name, runs in methods.items()}
    every = tuple(
        Quantity(title, {name: of_seeds([run[title] for run in runs]) for name, runs in read.items()})
        for title in (HELD_OUT, *LOGGED)
    )
    measured = tuple(quantity for quantity in every if any(quantity.methods.values()))
    return Comparison({name: len(runs) for name, runs in methods.items()}, measured or every)


def of_seeds(seeds: Sequence[Mapping[int, float]]) -> Values:
    """Returns the values of all seeds by step, at the steps that all of them have."""
    shared = sorted(set.intersection(*map(set, seeds)))
    return {step: [seed[step] for seed in seeds] for step in shared}
