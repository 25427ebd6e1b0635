"""Computes what one run learned, before and after, from the files that verl wrote."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from frpo_verl.evaluation import held_out
from frpo_verl.evaluation.command_line import Command
from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.pass_at_k import pass_at_k_per_problem
from frpo_verl.evaluation.runs import Run
from frpo_verl.evaluation.series import DIVERGENCE, ENTROPY, REWARD, Series, series


class Point(NamedTuple):
    """One measurement: the training step, the value, and its standard error where several problems give one."""

    step: int
    value: float
    standard_error: float | None = None


class Quantity(NamedTuple):
    """One quantity over the run; without points where the run did not log it."""

    name: str
    unit: str
    source: str  # the metric's name, or the data from which the values were computed
    points: tuple[Point, ...]
    starts_at: int  # the step of the first measurement, whether or not it gave a value

    @property
    def before(self) -> Point | None:
        """Returns the first measurement, if it gave a value."""
        return self.points[0] if self.points and self.points[0].step == self.starts_at else None

    @property
    def after(self) -> Point | None:
        """Returns the last measurement with a value, unless it is the first measurement."""
        return self.points[-1] if self.points and self.points[-1].step > self.starts_at else None


class Learned(NamedTuple):
    """The five quantities of a run, and the command that it ran."""

    command: Command
    correct_at: float  # the score from which a sample counts as correct
    reward: Quantity  # mean score of the training batch
    pass_at_1: Quantity  # over the held-out problems
    pass_at_8: Quantity  # without a point where a problem has fewer than 8 samples
    divergence: Quantity  # from the reference, nats per token
    entropy: Quantity  # of the policy, nats per token

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """Returns the five quantities, in the order of the table."""
        return self.reward, self.pass_at_1, self.pass_at_8, self.divergence, self.entropy

    @property
    def title(self) -> str:
        """Returns model, task and estimator in one line."""
        return f"{self.command.model} on {self.command.task}, estimator {self.command.estimator}"


def learned(run: Run, correct_at: float = 1.0) -> Learned:
    """Collects what a run learned.

    Args:
        run: the run, from `runs.read_run`.
        correct_at: a held-out sample is correct when its score is at least this.

    Returns:
        The five quantities over the run.
    """
    steps = run.log.steps
    return Learned(
        command=run.command,
        correct_at=correct_at,
        reward=_logged("reward (training)", "score", REWARD, steps),
        pass_at_1=_held_out(1, run, correct_at),
        pass_at_8=_held_out(8, run, correct_at),
        divergence=_logged("divergence to reference", "nats/token", DIVERGENCE, steps),
        entropy=_logged("entropy", "nats/token", ENTROPY, steps),
    )


def _logged(name: str, unit: str, metrics: Sequence[str], steps: Sequence[Step]) -> Quantity:
    return _quantity(name, unit, series(steps, metrics), steps)


def _quantity(name: str, unit: str, found: Series, steps: Sequence[Step]) -> Quantity:
    points = tuple(Point(step, value) for step, value in found.points.items())
    return Quantity(name, unit, found.metric, points, _starts_at(found.points, steps))


def _starts_at(measured: Iterable[int], steps: Sequence[Step]) -> int:
    """Returns the step of the first measurement, or an earlier one where that was made at the end of training."""
    first = min(measured, default=0)
    return 0 if steps and first > max(1, steps[0].step) and first >= steps[-1].step else first


def _held_out(k: int, run: Run, correct_at: float) -> Quantity:
    """Computes pass@k of each validated step that has k samples of every problem, its mean over the problems.

    Without dumps it is what verl logged.
    """
    name, unit = f"held-out pass@{k}", "probability"
    if not run.dumps:
        found = held_out.pass_at_k(run, k, correct_at)
        source = found.metric if held_out.most_samples(run) else "no validation dumps"
        return _quantity(name, unit, found._replace(metric=source), run.log.steps)
    points, sizes = [], []
    for step in sorted(run.dumps):
        scores = run.dumps[step].values()
        num_samples = [len(of_problem) for of_problem in scores]
        if min(num_samples, default=0) < k:
            continue
        num_correct = [sum(score >= correct_at for score in of_problem) for of_problem in scores]
        solved = pass_at_k_per_problem(num_samples, num_correct, k)
        points.append(Point(step, statistics.fmean(solved), _standard_error(solved)))
        sizes.append(f"{len(num_samples)} problems x {_range(num_samples)} samples")
    source = " -> ".join(dict.fromkeys((sizes[0], sizes[-1]))) if sizes else f"needs {k} samples of each problem"
    return Quantity(name, unit, source, tuple(points), _starts_at(run.dumps, run.log.steps))


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
