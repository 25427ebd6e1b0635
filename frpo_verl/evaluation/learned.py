"""Computes what one run learned, before and after, from the files that verl wrote."""

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frpo_verl.evaluation.pass_at_k import pass_at_k_per_problem
from frpo_verl.evaluation.run_log import RunLogError, Step, finished_dumps, read_metrics, read_validation
from frpo_verl.evaluation.series import DIVERGENCE, ENTROPY, REWARD, series


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


class Command(NamedTuple):
    """The command line of a run and what it says; see `parse_command`."""

    text: str
    model: str
    task: str
    estimator: str
    seed: str


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


def read_run(run_dir: Path, correct_at: float = 1.0, score_key: str = "score") -> Learned:
    """Reads a run's directory: metrics.jsonl, command.txt and, if the run validated, validation/{step}.jsonl.

    Args:
        run_dir: the directory.
        correct_at: a held-out sample is correct when its score is at least this.
        score_key: the field of the validation dumps to read as the score.

    Returns:
        What the run learned.

    Raises:
        RunLogError: the directory does not hold a run, or one of its files cannot be read.
    """
    command, metrics, validation = (run_dir / name for name in ("command.txt", "metrics.jsonl", "validation"))
    missing = [path.name for path in (metrics, command) if not path.is_file()]
    if missing:
        raise RunLogError(f"{run_dir} does not hold a run: {' and '.join(missing)} missing.")
    # The first validation may still be running.
    dumps = read_validation(validation, score_key) if finished_dumps(validation) else {}
    return learned(read_metrics(metrics), dumps, parse_command(command.read_text(encoding="utf-8")), correct_at)


def learned(
    steps: Sequence[Step],
    dumps: Mapping[int, Mapping[str, Sequence[float]]],
    command: Command,
    correct_at: float = 1.0,
) -> Learned:
    """Collects what a run learned.

    Args:
        steps: the run's metrics, from `run_log.read_metrics`.
        dumps: scores by problem by validated step, from `run_log.read_validation`; may be empty.
        command: the run's command line.
        correct_at: a sample is correct when its score is at least this.

    Returns:
        The five quantities over the run.
    """
    return Learned(
        command=command,
        correct_at=correct_at,
        reward=_logged("reward (training)", "score", REWARD, steps),
        pass_at_1=held_out(1, dumps, correct_at),
        pass_at_8=held_out(8, dumps, correct_at),
        divergence=_logged("divergence to reference", "nats/token", DIVERGENCE, steps),
        entropy=_logged("entropy", "nats/token", ENTROPY, steps),
    )


def parse_command(text: str) -> Command:
    """Finds model, task, estimator and seed in a command line of verl's trainer.

    What the command line does not set is described as the default of verl or of the named config. Raises `RunLogError`
    where its quotes do not match.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise RunLogError(f"the recorded command is not a shell command line ({error}): {text!r}.") from error
    # Hydra's + and ++ add or force a key, its own quotes hold a path together, and -cn, --config-name take the name
    # with = or as the next word.
    keys = {key: value.strip("'") for key, value in (word.lstrip("+").split("=", 1) for word in words if "=" in word)}
    config = next((name for flag, name in zip(words, words[1:], strict=False) if flag in ("--config-name", "-cn")), "")
    config = keys.get("--config-name", keys.get("-cn", config))
    default = f"{config}'s default" if config else "verl's default"
    estimator = keys.get("algorithm.adv_estimator", default if config else "gae")
    if keys.get("algorithm.kl_mode") == "future":
        estimator += " + future KL"
    if "frpo_verl.trainers.fpa" in words:
        estimator = f"{keys.get('fpa.loss', 'outcome')}, lambda {keys.get('fpa.lam', '1')}"
    seeds = [f"{key}={value}" for key, value in keys.items() if key.split(".")[-1] in ("seed", "data_loader_seed")]
    return Command(
        text=" ".join(text.replace("\\\n", " ").split()),
        model=PurePosixPath(keys.get("actor_rollout_ref.model.path", keys.get("model.path", default))).name,
        task=_task(keys.get("data.val_files", keys.get("data.train_files", default))),
        estimator=estimator,
        seed=", ".join(seeds) or f"{default} (the command sets none)",
    )


def _task(files: str) -> str:
    # The last part of .../gsm8k/test.parquet names the split, the one before it the task.
    names = []
    for file in files.strip("[]").split(","):
        path = PurePosixPath(file.strip(" '\""))
        is_split = path.stem in ("train", "test", "val", "validation") and path.parent.name
        names.append(path.parent.name if is_split else path.stem)
    return ", ".join(dict.fromkeys(names))


def _logged(name: str, unit: str, metrics: Sequence[str], steps: Sequence[Step]) -> Quantity:
    metric, values = series(steps, metrics)
    points = tuple(Point(step, value) for step, value in values.items())
    return Quantity(name, unit, metric, points, starts_at=points[0].step if points else 0)


def held_out(k: int, dumps: Mapping[int, Mapping[str, Sequence[float]]], correct_at: float) -> Quantity:
    """Computes pass@k of each validated step that has k samples of every problem, its mean over the problems."""
    points, sizes = [], []
    for step in sorted(dumps):
        scores = dumps[step].values()
        num_samples = [len(of_problem) for of_problem in scores]
        if min(num_samples, default=0) < k:
            continue
        num_correct = [sum(score >= correct_at for score in of_problem) for of_problem in scores]
        solved = pass_at_k_per_problem(num_samples, num_correct, k)
        points.append(Point(step, statistics.fmean(solved), _standard_error(solved)))
        sizes.append(f"{len(num_samples)} problems x {_range(num_samples)} samples")
    nothing = f"needs {k} samples of each problem" if dumps else "no validation dumps"
    source = " -> ".join(dict.fromkeys((sizes[0], sizes[-1]))) if sizes else nothing
    return Quantity(f"held-out pass@{k}", "probability", source, tuple(points), starts_at=min(dumps, default=0))


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
