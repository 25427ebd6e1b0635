"""Computes pass@k on the held-out problems, from the samples or, without them, from what verl logged."""

import re
import statistics
from collections.abc import Mapping, Sequence
from statistics import fmean

from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.pass_at_k import pass_at_k_per_problem
from frpo_verl.evaluation.runs import Dumps, Run
from frpo_verl.evaluation.series import Series

# val-core/SOURCE/VARIABLE/mean@8, …/best@8/mean: of the two variables, acc and reward, verl has one in val-core.
_NAME = re.compile(r"val-(core|aux)/(.+/[^/]+)/(?:(mean)@(\d+)|best@(\d+)/mean)$")


def most_samples(run: Run) -> int:
    """Returns the greatest k for which pass@k of every validation of the run is known; 0 without any."""
    if run.dumps:
        return min(len(scores) for problems in run.dumps.values() for scores in problems.values())
    return max((k for _, k, _ in _metrics(run.log.steps)), default=0)


def pass_at_k(run: Run, k: int, correct_at: float) -> Series:
    """Returns pass@k by step, with its source: the samples, or verl's metrics, of each source of data the same weight.

    verl's `mean@N` is pass@1 where a score is 0 or 1, and `best@N/mean` its estimate of pass@N.
    """
    if run.dumps:
        return Series("validation dumps", {step: of_samples(run.dumps[step], k, correct_at) for step in run.dumps})
    kind_of_k = "mean" if k == 1 else "best"
    wanted = [(name, n) for kind, n, name in _metrics(run.log.steps) if kind == kind_of_k and (k == 1 or n == k)]
    best = max((n for _, n in wanted), default=0)
    names = [name for name, n in wanted if n == best]
    at = {step.step: [step.metrics[name] for name in names if name in step.metrics] for step in run.log.steps}
    points = {step: fmean(values) for step, values in at.items() if names and len(values) == len(names)}
    return Series(", ".join(names) or f"needs {k} samples of each problem", points)


def of_samples(problems: Mapping[str, Sequence[float]], k: int, correct_at: float) -> float:
    """Returns the mean over the problems of the unbiased pass@k."""
    scores = problems.values()
    correct = [sum(score >= correct_at for score in of_problem) for of_problem in scores]
    return statistics.fmean(pass_at_k_per_problem([len(of_problem) for of_problem in scores], correct, k))


def by_k(dumps: Dumps, most: int, correct_at: float) -> dict[int, float]:
    """Returns pass@k of the last validation for k = 1, 2, 4, … up to `most`, and of `most`."""
    if not dumps:
        return {}
    ks = sorted({most, *(2**n for n in range(most.bit_length()))})
    return {k: of_samples(dumps[max(dumps)], k, correct_at) for k in ks}


def _metrics(steps: Sequence[Step]) -> list[tuple[str, int, str]]:
    """Returns kind, N and name of the metrics of each source's variable that verl has in val-core."""
    names = dict.fromkeys(name for step in steps for name in step.metrics if name.startswith("val-"))
    found = [(match, name) for name in names if (match := _NAME.match(name))]
    core = {match[2] for match, _ in found if match[1] == "core"}
    return [(match[3] or "best", int(match[4] or match[5]), name) for match, name in found if match[2] in core]
