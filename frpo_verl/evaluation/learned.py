"""What one run learned: its figures before and after, computed from the files that verl wrote."""

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frpo_verl.evaluation.pass_at_k import mean_pass_at_k, pass_at_k_per_problem
from frpo_verl.evaluation.run_log import RunLogError, Step, read_metrics, read_validation, series

REWARD = "critic/score/mean"
ENTROPY = "actor/entropy"
DIVERGENCE = "frpo/divergence_to_ref/token_mean"
KL_LOSS = "actor/kl_loss"


class Point(NamedTuple):
    """One measurement: the training step, the value, and its standard error where several problems give one."""

    step: int
    value: float
    standard_error: float | None = None


class Quantity(NamedTuple):
    """One quantity over the run.

    Attributes:
        name: what it is, for a reader.
        unit: of the values.
        source: the metric's name, or the data the values were computed from.
        points: by ascending step; empty when the run did not log it.
        starts_at: the step of the measurement that counts as before, whether or not it gave a value.
    """

    name: str
    unit: str
    source: str
    points: tuple[Point, ...]
    starts_at: int

    @property
    def before(self) -> Point | None:
        """The first measurement, if it gave a value."""
        return self.points[0] if self.points and self.points[0].step == self.starts_at else None

    @property
    def after(self) -> Point | None:
        """The last measurement with a value, if it is another one than the first."""
        return self.points[-1] if self.points and self.points[-1].step > self.starts_at else None


class Command(NamedTuple):
    """The command line of a run and what it says; see `parse_command`."""

    text: str
    model: str
    task: str
    estimator: str
    seed: str


class Learned(NamedTuple):
    """What a run learned.

    Attributes:
        command: the run's command line.
        correct_at: the score from which on a sample counts as correct.
        reward: mean score of the training batch, in the score's unit.
        pass_at_1: on the held-out problems, a probability with its standard error over problems.
        pass_at_8: the same with 8 tries; empty where a problem has fewer than 8 samples.
        divergence: from the reference, nats per token; of a run without `frpo`, verl's own KL loss.
        entropy: of the policy, nats per token.
    """

    command: Command
    correct_at: float
    reward: Quantity
    pass_at_1: Quantity
    pass_at_8: Quantity
    divergence: Quantity
    entropy: Quantity

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The five quantities, in the order of the table."""
        return self.reward, self.pass_at_1, self.pass_at_8, self.divergence, self.entropy

    @property
    def title(self) -> str:
        """Model, task and estimator."""
        return f"{self.command.model} on {self.command.task}, estimator {self.command.estimator}"


def parse_command(text: str) -> Command:
    """Finds model, task, estimator and seed in a command line of verl's trainer.

    Args:
        text: the command line, as typed in a POSIX shell; lines may be continued with a backslash.

    Returns:
        The command. What it does not set is described as the default of verl or of the named config.

    Raises:
        RunLogError: the quotes do not match, so it is no command line.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise RunLogError(f"the recorded command is no shell command line ({error}): {text!r}.") from error
    # Hydra's + and ++ add or force a key, its own quotes hold a path together, and -cn, --config-name take the name
    # with = or as the next word.
    keys = {key: value.strip("'") for key, value in (word.lstrip("+").split("=", 1) for word in words if "=" in word)}
    config = next((name for flag, name in zip(words, words[1:], strict=False) if flag in ("--config-name", "-cn")), "")
    config = keys.get("--config-name", keys.get("-cn", config))
    default = f"{config}'s default" if config else "verl's default"
    estimator = keys.get("algorithm.adv_estimator", default if config else "gae")
    future = keys.get("algorithm.kl_mode") == "future"
    seeds = [f"{key}={value}" for key, value in keys.items() if key.split(".")[-1] in ("seed", "data_loader_seed")]
    return Command(
        text=" ".join(text.replace("\\\n", " ").split()),
        model=PurePosixPath(keys.get("actor_rollout_ref.model.path", default)).name,
        task=_task(keys.get("data.val_files", keys.get("data.train_files", default))),
        estimator=f"{estimator} + future KL" if future else estimator,
        seed=", ".join(seeds) or f"{default} (the command sets none)",
    )


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
    divergence = KL_LOSS if series(steps, KL_LOSS) and not series(steps, DIVERGENCE) else DIVERGENCE
    return Learned(
        command=command,
        correct_at=correct_at,
        reward=_logged("reward (training)", "score", REWARD, steps),
        pass_at_1=_held_out(1, dumps, correct_at),
        pass_at_8=_held_out(8, dumps, correct_at),
        divergence=_logged("divergence to reference", "nats/token", divergence, steps),
        entropy=_logged("entropy", "nats/token", ENTROPY, steps),
    )


def read_run(run_dir: Path, correct_at: float = 1.0, score_key: str = "score") -> Learned:
    """Reads a run's directory: metrics.jsonl, command.txt and, if the run validated, validation/{step}.jsonl.

    Args:
        run_dir: the directory.
        correct_at: a held-out sample is correct when its score is at least this.
        score_key: the field of the validation dumps to read as the score.

    Returns:
        What the run learned.

    Raises:
        RunLogError: the directory is no run, or one of its files cannot be read.
    """
    command, metrics, validation = (run_dir / name for name in ("command.txt", "metrics.jsonl", "validation"))
    missing = [path.name for path in (metrics, command) if not path.is_file()]
    if missing:
        raise RunLogError(f"{run_dir} is no run: it has no {' and no '.join(missing)}.")
    dumps = read_validation(validation, score_key) if validation.is_dir() else {}
    return learned(read_metrics(metrics), dumps, parse_command(command.read_text(encoding="utf-8")), correct_at)


def _task(files: str) -> str:
    # The last part of .../gsm8k/test.parquet names the split, the one before it the task.
    names = []
    for file in files.strip("[]").split(","):
        path = PurePosixPath(file.strip(" '\""))
        is_split = path.stem in ("train", "test", "val", "validation") and path.parent.name
        names.append(path.parent.name if is_split else path.stem)
    return ", ".join(dict.fromkeys(names))


def _logged(name: str, unit: str, metric: str, steps: Sequence[Step]) -> Quantity:
    points = tuple(Point(step, value) for step, value in series(steps, metric))
    return Quantity(name, unit, metric, points, starts_at=points[0].step if points else 0)


def _held_out(k: int, dumps: Mapping[int, Mapping[str, Sequence[float]]], correct_at: float) -> Quantity:
    points, sizes = [], []
    for step in sorted(dumps):
        scores = dumps[step].values()
        num_samples = [len(of_problem) for of_problem in scores]
        if min(num_samples, default=0) < k:
            continue
        num_correct = [sum(score >= correct_at for score in of_problem) for of_problem in scores]
        mean = mean_pass_at_k(num_samples, num_correct, k)
        points.append(Point(step, mean, _standard_error(pass_at_k_per_problem(num_samples, num_correct, k).tolist())))
        sizes.append(f"{len(num_samples)} problems x {_range(num_samples)} samples")
    nothing = f"needs {k} samples of each problem" if dumps else "no validation dumps"
    source = " -> ".join(dict.fromkeys((sizes[0], sizes[-1]))) if sizes else nothing
    return Quantity(f"held-out pass@{k}", "probability", source, tuple(points), starts_at=min(dumps, default=0))


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
