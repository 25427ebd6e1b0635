"""Turns the study's runs into its tables and figures: `python -m study.tables FOLDER`.

FOLDER has the runs, or `runs.csv` and `curves.csv` alone, as `recipes/study/results` does.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from frpo_verl.evaluation.intervals import student_t
from study import results
from study.results import BASE, Run

CLAIMS = (
    ("FRPO has a higher pass@16 than GRPO without a KL", "frpo", "no_kl", 16),
    ("FRPO has a higher pass@16 than GRPO with a KL loss", "frpo", "kl_loss", 16),
    ("FRPO has a higher pass@1 than GRPO with a KL loss", "frpo", "kl_loss", 1),
    ("FRPO has a higher pass@1 than the KL in the reward", "frpo", "kl_reward", 1),
    ("k1 has a higher pass@16 than k3", "frpo", "frpo_k3", 16),
    (
        "The divergence's credit to tokens helps: FRPO has a higher pass@16 than its shuffled control",
        "frpo",
        "shuffled",
        16,
    ),
    ("The fitted baseline raises FRPO's pass@1", "frpo_fitted", "frpo", 1),
    ("The current policy's divergence raises FRPO's pass@1", "frpo_current", "frpo", 1),
    ("λ-GRPO has a higher pass@1 than GRPO", "lambda_grpo", "no_kl", 1),
    ("DRPO, with its settings, has a higher pass@1 than GRPO", "drpo", "no_kl", 1),
)
"""Claims of the papers and of this repository, as one method's pass@k above another's."""

MATCHED = ("no_kl", "kl_loss", "kl_reward", "frpo_k3", "rloo_future", "shuffled", "frpo_fitted", "frpo_current")
"""Methods that have FRPO's β, or none, and are compared with it at each."""

CONTROLS = ("shuffled", "frpo_fitted", "frpo_current")
"""Methods that are compared at a strength that both have; for all others validation chooses the strength."""


WITHOUT_DRIFT = "lambda_grpo"
"""The method whose drift is weighted as its loss is, which makes it too small to be compared."""

OTHER_REWARD = ("rloo_future", "drpo")
"""Methods that do not divide the reward by its deviation."""

OF_INTEREST = 0.05
"""A difference of pass@k that would matter to who chooses a method."""


class Estimate(NamedTuple):
    """A mean over seeds and problems, and the standard deviations of their means.

    Attributes:
        mean: of all.
        deviation: of the seeds' means; infinite for one seed.
        seeds: how many there are.
        problem_deviation: of the problems' means; 0 for what is not measured by the problem.
        problems: how many there are, 1 for what is not measured by the problem.
    """

    mean: float
    deviation: float
    seeds: int
    problem_deviation: float = 0.0
    problems: int = 1

    @property
    def half(self) -> float:
        """Computes half of an interval of 95 % for other seeds and other problems, √(h_seeds² + h_problems²).

        Each h is half of Student's interval. The noise of sampling is in both, so it is rather too wide.
        """
        if self.seeds == 1:
            return math.inf
        problems = _half(self.problem_deviation, self.problems) if self.problems > 1 else 0.0
        return math.hypot(_half(self.deviation, self.seeds), problems)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f}"


def _half(deviation: float, number: int) -> float:
    return student_t(0.975, number - 1) * deviation / math.sqrt(number)


def estimate(values: Sequence[Sequence[float]]) -> Estimate:
    """Computes mean and standard deviations of a value for each problem (or one), for each seed."""
    of_seeds = [fmean(of) for of in values]
    of_problems = [fmean(of) for of in zip(*values, strict=True)]
    deviation = stdev(of_seeds) if len(values) > 1 else math.inf
    problem_deviation = stdev(of_problems) if len(of_problems) > 1 else 0.0
    return Estimate(fmean(of_seeds), deviation, len(values), problem_deviation, len(of_problems))


def cells(runs: Sequence[Run]) -> dict[tuple[str, float], list[Run]]:
    """Groups runs by method and strength."""
    grouped: dict[tuple[str, float], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.method, run.strength), []).append(run)
    return grouped


def chosen(runs: Sequence[Run], k: int) -> dict[str, list[Run]]:
    """Chooses each method's strength by its mean pass@k on the validation problems; returns its runs by method.

    Only strengths with as many seeds as the method's most frequent one are looked at.
    """
    best: dict[str, list[Run]] = {}
    grouped = cells(runs)
    most = {method: max(len(of) for (name, _), of in grouped.items() if name == method) for method, _ in grouped}
    for (method, _), of in grouped.items():
        if len(of) == most[method] and (method not in best or _validated(of, k) > _validated(best[method], k)):
            best[method] = of
    return best


def _validated(runs: Sequence[Run], k: int) -> float:
    return fmean(run.passed("validation", k) for run in runs)


def difference(ours: Sequence[Run], theirs: Sequence[Run], of: Callable[[Run], Sequence[float]]) -> Estimate | None:
    """Estimates the mean difference of two methods over the seeds that both have; None where they share none.

    `of` gives a run's values, one or one for each test problem; differences are paired by seed and problem.
    """
    other = {run.seed: of(run) for run in theirs}
    values = [_less(of(run), other[run.seed]) for run in ours if run.seed in other]
    return estimate(values) if values else None


def _less(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [our - their for our, their in zip(ours, theirs, strict=True)]


def has_collapsed(run: Run) -> bool:
    """Says whether the reward ended below half of its best, or is no number."""
    rewards = [values["reward"] for values in run.curve.values()]
    return any(map(math.isnan, rewards)) or rewards[-1] < max(rewards) / 2


def outcome_table(runs: Sequence[Run]) -> str:
    """Writes a row for each method and strength: the mean over seeds, and the standard deviation of pass@k."""
    lines = [
        "| method | β or δ | seeds | pass@1 | pass@16 | entropy | drift | length | reward | time | collapsed |",
        "| --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (method, strength), of in cells(runs).items():
        scores = [_mean_and_deviation([run.passed("test", k) for run in of if k <= run.samples]) for k in (1, 16)]
        if method == BASE:
            lines.append(f"| {method} | | {len(of)} | {' | '.join(scores)} | | | | | | |")
            continue
        last = {name: fmean(run.last(name) for run in of) for name in results.CURVES}
        figures = [f"{last[name]:.3f}" for name in ("entropy", "drift")] + [f"{last['length']:.1f}"]
        passes = fmean(run.passes() for run in of)
        figures += [f"{last['reward']:.3f}", f"{passes:.1f}", str(sum(map(has_collapsed, of)))]
        lines.append(f"| {method} | {strength:g} | {len(of)} | {' | '.join([*scores, *figures])} |")
    return "\n".join(lines)


def _mean_and_deviation(values: Sequence[float]) -> str:
    return (
        f"{fmean(values):.3f} ({stdev(values):.3f})" if len(values) > 1 else "".join(f"{value:.3f}" for value in values)
    )


def claim_table(runs: Sequence[Run]) -> str:
    """Writes each claim with the difference, paired by seed, at the strengths that validation chose.

    The fifth column has the seeds by which a difference of `OF_INTEREST` would be found on these problems.
    """
    lines = [
        f"| claim | β or δ | difference | seeds | seeds for {OF_INTEREST} | |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for claim, ours, theirs, k in CLAIMS:
        best = chosen([run for run in compared(runs, ours, theirs) if run.samples >= k], k)
        if ours not in best or theirs not in best:
            continue
        found = difference(best[ours], best[theirs], lambda run, k=k: run.passed_each("test", k))
        if found is not None:
            strengths = " / ".join(f"{best[method][0].strength or '–'}" for method in (ours, theirs))
            needed = seeds_needed(found.deviation, OF_INTEREST) if found.seeds > 1 else "?"
            lines.append(f"| {claim} | {strengths} | {found} | {found.seeds} | {needed} | {verdict(found)} |")
    return "\n".join(lines)


def matched_table(runs: Sequence[Run]) -> str:
    """Writes FRPO's figures at each β less those of each method at the same β, or without one, paired by seed."""
    figures: dict[str, Callable[[Run], Sequence[float]]] = {
        "pass@1": lambda run: run.passed_each("test", 1),
        "pass@16": lambda run: run.passed_each("test", 16),
        "entropy": lambda run: [run.last("entropy")],
        "drift": lambda run: [run.last("drift")],
    }
    lines = [f"| FRPO less, at equal β | β | {' | '.join(figures)} |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    grouped = cells([run for run in runs if run.samples >= 16])
    for method in MATCHED:
        for strength in sorted(of for name, of in grouped if name == "frpo"):
            theirs = grouped.get((method, 0.0)) or grouped.get((method, strength), [])
            found = [difference(grouped["frpo", strength], theirs, of) for of in figures.values()]
            if None not in found:
                lines.append(f"| {method} | {strength:g} | {' | '.join(map(str, found))} |")
    return "\n".join(lines)


def drift_table(runs: Sequence[Run]) -> str:
    """Writes FRPO's pass@k at each β, less what lies between the runs of each method at the drift of FRPO's run.

    `no_kl` is each method's β = 0 but for those of `OTHER_REWARD`.
    """
    lines = ["| FRPO less, at its drift | β | pass@1 | pass@16 | seeds |", "| --- | ---: | ---: | ---: | ---: |"]
    known = [run for run in runs if run.samples >= 16]
    for method in dict.fromkeys(run.method for run in known):
        if method in (BASE, "frpo", "no_kl", WITHOUT_DRIFT):
            continue
        names = {method} if method in OTHER_REWARD else {method, "no_kl"}
        path = [run for run in known if run.method in names]
        for (_, strength), ours in cells([run for run in known if run.method == "frpo"]).items():
            found = []
            for k in (1, 16):
                pairs = [
                    (run, at_drift([of for of in path if of.seed == run.seed], run.last("drift"), k)) for run in ours
                ]
                found.append([_less(run.passed_each("test", k), of) for run, of in pairs if of is not None])
            if found[0]:
                scores = " | ".join(str(estimate(values)) for values in found)
                lines.append(f"| {method} | {strength:g} | {scores} | {len(found[0])} |")
    return "\n".join(lines)


def at_drift(runs: Sequence[Run], drift: float, k: int) -> list[float] | None:
    """Interpolates pass@k of each test problem in the logarithm of the drift; None outside of what the runs span."""
    ordered = sorted(runs, key=lambda run: run.last("drift"))
    for low, high in pairwise(ordered):
        if low.last("drift") <= drift <= high.last("drift"):
            share = math.log(drift / low.last("drift")) / math.log(high.last("drift") / low.last("drift"))
            both = zip(low.passed_each("test", k), high.passed_each("test", k), strict=True)
            return [less + share * (more - less) for less, more in both]
    return None


def compared(runs: Sequence[Run], ours: str, theirs: str) -> list[Run]:
    """Selects the runs of two methods; with a control, those of strengths that both have."""
    strengths = [{run.strength for run in runs if run.method == method} for method in (ours, theirs)]
    allowed = set.intersection(*strengths) if {ours, theirs} & set(CONTROLS) else set.union(*strengths)
    return [run for run in runs if run.method in (ours, theirs) and run.strength in allowed]


def verdict(found: Estimate) -> str:
    """Says what an interval says of a claim that a difference is positive."""
    if abs(found.mean) > found.half:
        return "seen" if found.mean > 0 else "the opposite"
    return f"no difference of {OF_INTEREST}" if abs(found.mean) + found.half < OF_INTEREST else "open"


def seeds_needed(deviation: float, wanted: float) -> int:
    """Computes the seeds by which a paired difference is found with a power of 80 % at a level of 5 %.

    n = ((1.96 + 0.84) · s / d)² + 2; the 2 is for Student's t in place of the normal distribution.
    """
    return math.ceil((2.80 * deviation / wanted) ** 2 + 2)


def report(runs: Sequence[Run]) -> str:
    """Writes all tables."""
    tables = (outcome_table, claim_table, matched_table, drift_table)
    return "\n\n".join(table(runs) for table in tables) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Collects the runs of FOLDER into its two files, prints the tables and draws FOLDER/study.png."""
    parser = argparse.ArgumentParser(prog="python -m study.tables", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    if runs := results.collect(folder):
        results.write(runs, folder)
    runs = results.read(folder)
    (folder / "tables.md").write_text(report(runs))
    print(report(runs))
    from study import figures

    figures.draw(runs, folder / "study.png")


if __name__ == "__main__":
    main(sys.argv[1:])
