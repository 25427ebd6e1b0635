"""What one run learned, before and after, as a table and a figure: `python -m frpo_verl.evaluation.report RUN_DIR`."""

import argparse
import math
import shlex
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from frpo_verl.evaluation.pass_at_k import mean_pass_at_k, pass_at_k_per_problem
from frpo_verl.evaluation.run_log import RunLogError, Step, read_metrics, read_validation, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REWARD = "critic/score/mean"
ENTROPY = "actor/entropy"
DIVERGENCE = "frpo/divergence_to_ref/token_mean"
KL_LOSS = "actor/kl_loss"

WIDTH_PX = 1200
PANELS_PX = 880
FOOTER_LINE_PX = 14
FOOTER_COLUMNS = 184
DPI = 128  # a power of two: pixels / DPI is exact, so the image has exactly the stated size

# Okabe and Ito's palette, told apart under every common colour blindness.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"


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
    """

    name: str
    unit: str
    source: str
    points: tuple[Point, ...]

    @property
    def before(self) -> Point | None:
        """The first measurement, if any."""
        return self.points[0] if self.points else None

    @property
    def after(self) -> Point | None:
        """The last measurement, if it is another one than the first."""
        return self.points[-1] if len(self.points) > 1 else None


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
    # Hydra's + and ++ add or force a key, and -cn, --config-name take the name with = or as the next word.
    keys = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
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


def table(run: Learned) -> str:
    """The figures of a run before and after training as aligned plain text; '-' where there is none.

    Args:
        run: what the run learned.

    Returns:
        Lines without a final newline.
    """
    rows = [("", "before", "step", "after", "step", "change", "unit", "source")]
    for quantity in run.quantities:
        before, after = quantity.before, quantity.after
        change = _number(after.value - before.value, sign="+") if before and after else "-"
        rows.append((quantity.name, *_cells(before), *_cells(after), change, quantity.unit, quantity.source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = "<>>>>><<"
    lines = [
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, aligns, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([run.title, "", *lines, "", *_small_print(run)])


def figure(run: Learned, path: Path) -> None:
    """Draws a run over its steps: reward, held-out pass@k, divergence to the reference, entropy.

    Args:
        run: what the run learned.
        path: the PNG to write, 1200 pixels wide and 880 high, plus 14 for each line of small print.
    """
    from matplotlib.figure import Figure

    lines = [line for text in _small_print(run) for line in textwrap.wrap(text, FOOTER_COLUMNS, break_on_hyphens=False)]
    height = PANELS_PX + FOOTER_LINE_PX * len(lines)
    drawing = Figure(figsize=(WIDTH_PX / DPI, height / DPI), dpi=DPI)
    # A command may hold $, which would otherwise start mathematics.
    drawing.suptitle(run.title, y=1 - 20 / height, va="top", fontsize=12, parse_math=False)
    small_print = {"fontsize": 5.6, "family": "monospace", "linespacing": 1.15, "color": GREY}
    drawing.text(20 / WIDTH_PX, 12 / height, "\n".join(lines), va="bottom", parse_math=False, **small_print)
    panels = drawing.subplots(2, 2)
    top, bottom = 1 - 115 / height, 1 - (PANELS_PX - 75) / height
    drawing.subplots_adjust(left=0.075, right=0.975, top=top, bottom=bottom, wspace=0.2, hspace=0.45)
    steps = [point.step for quantity in run.quantities for point in quantity.points] or [0]
    _draw_logged(panels[0, 0], run.reward, steps)
    _draw_held_out(panels[0, 1], run.pass_at_1, run.pass_at_8, steps)
    _draw_logged(panels[1, 0], run.divergence, steps)
    _draw_logged(panels[1, 1], run.entropy, steps)
    drawing.savefig(path, dpi=DPI, format="png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of a run and writes its figure.

    Args:
        arguments: the command line without the program's name; `sys.argv` when None.

    Raises:
        SystemExit: with one sentence when the directory is no run, and as `argparse` does.
    """
    parser = argparse.ArgumentParser(
        prog="python -m frpo_verl.evaluation.report",
        description="Print what a run learned, before and after, and draw it to RUN_DIR/learned.png.",
    )
    parser.add_argument(
        "run_dir",
        metavar="RUN_DIR",
        type=Path,
        help="holds metrics.jsonl (verl's file logger), command.txt (the exact command line) and, if the run "
        "validated, validation/STEP.jsonl (trainer.validation_data_dir)",
    )
    parser.add_argument(
        "--correct-at", type=float, default=1.0, help="a held-out sample is correct from this score on (default: 1)"
    )
    parser.add_argument(
        "--score-key", default="score", help="the field of the validation dumps to read (default: score; often: acc)"
    )
    options = parser.parse_args(arguments)
    try:
        run = read_run(options.run_dir, options.correct_at, options.score_key)
    except RunLogError as error:
        raise SystemExit(str(error)) from error
    print(table(run))
    figure(run, options.run_dir / "learned.png")


def _task(files: str) -> str:
    # The last part of .../gsm8k/test.parquet names the split, the one before it the task.
    names = []
    for file in files.strip("[]").split(","):
        path = PurePosixPath(file.strip(" '\""))
        is_split = path.stem in ("train", "test", "val", "validation") and path.parent.name
        names.append(path.parent.name if is_split else path.stem)
    return ", ".join(dict.fromkeys(names))


def _logged(name: str, unit: str, metric: str, steps: Sequence[Step]) -> Quantity:
    return Quantity(name, unit, metric, tuple(Point(step, value) for step, value in series(steps, metric)))


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
    return Quantity(f"held-out pass@{k}", "probability", source, tuple(points))


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _range(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _number(value: float, sign: str = "") -> str:
    # The last digits of a difference are rounding, not a change; + 0.0 turns -0.0 into 0.0.
    value = round(value, 12) + 0.0
    is_tiny = 0 < abs(value) < 0.01
    return f"{value:{sign}.2e}" if is_tiny else f"{value:{sign}.3f}"


def _cells(point: Point | None) -> tuple[str, str]:
    if point is None:
        return "-", "-"
    spread = "" if point.standard_error is None else f" ± {point.standard_error:.3f}"
    return _number(point.value) + spread, str(point.step)


def _small_print(run: Learned) -> list[str]:
    return [
        f"pass@k: unbiased estimator; ± is one standard error over problems; correct from score {run.correct_at:g} on",
        f"seed: {run.command.seed}; one run",
        f"command: {run.command.text}",
    ]


def _ends(quantity: Quantity) -> str:
    return " → ".join("-" if point is None else _number(point.value) for point in (quantity.before, quantity.after))


def _frame(axes: "Axes", unit: str, source: str, steps: Sequence[int]) -> None:
    axes.set_xlabel("training step", fontsize=8)
    axes.set_ylabel(unit, fontsize=8)
    axes.text(1, 1.025, source, transform=axes.transAxes, ha="right", fontsize=7, color=GREY, parse_math=False)
    padding = max(0.5, 0.04 * (max(steps) - min(steps)))
    axes.set_xlim(min(steps) - padding, max(steps) + padding)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)
    axes.yaxis.get_offset_text().set_fontsize(7)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.08)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_logged(axes: "Axes", quantity: Quantity, steps: Sequence[int]) -> None:
    _frame(axes, quantity.unit, quantity.source, steps)
    axes.set_title(f"{quantity.name}: {_ends(quantity)}", fontsize=9.5, loc="left", pad=16)
    _draw_points(axes, quantity, BLUE, "o", "-")


def _draw_held_out(axes: "Axes", pass_at_1: Quantity, pass_at_8: Quantity, steps: Sequence[int]) -> None:
    _frame(axes, pass_at_1.unit, f"held-out: {pass_at_1.source}", steps)
    axes.set_title(f"● pass@1: {_ends(pass_at_1)}", fontsize=9.5, loc="left", pad=16, color=BLUE)
    axes.set_title(f"■ pass@8: {_ends(pass_at_8)}", fontsize=9.5, loc="right", pad=16, color=VERMILLION)
    _draw_points(axes, pass_at_1, BLUE, "o", ":")
    if pass_at_8.points:
        _draw_points(axes, pass_at_8, VERMILLION, "s", ":")
    axes.set_ylim(bottom=0)


def _draw_points(axes: "Axes", quantity: Quantity, colour: str, marker: str, line: str) -> None:
    if not quantity.points:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=GREY, fontsize=9)
        axes.set_yticks([])
        return
    steps, values = [point.step for point in quantity.points], [point.value for point in quantity.points]
    axes.plot(steps, values, line, color=colour, linewidth=1.4)
    marked = [point for point in quantity.points if point.standard_error is not None]
    marked = marked or list(filter(None, (quantity.before, quantity.after)))
    axes.errorbar(
        [point.step for point in marked],
        [point.value for point in marked],
        [point.standard_error or 0.0 for point in marked],
        fmt=marker,
        color=colour,
        markersize=6,
        capsize=3,
        clip_on=False,
    )


if __name__ == "__main__":
    main()
