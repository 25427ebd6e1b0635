"""What one run learned, before and after, as a table and a figure: `python -m frpo_verl.evaluation.report RUN_DIR`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from frpo_verl.evaluation.learned import Learned, Point, read_run
from frpo_verl.evaluation.run_log import RunLogError


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
        change = number(after.value - before.value, sign="+") if before and after else "-"
        rows.append((quantity.name, *_cells(before), *_cells(after), change, quantity.unit, quantity.source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = "<>>>>><<"
    lines = [
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, aligns, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([run.title, "", *lines, "", *small_print(run)])


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
    from frpo_verl.evaluation.figure import figure

    figure(run, options.run_dir / "learned.png")


def number(value: float, sign: str = "") -> str:
    """A value with three decimals, or in scientific notation when that would show nothing.

    Args:
        value: any number.
        sign: `+` to show the sign of positive numbers too.

    Returns:
        Its text.
    """
    # The last digits of a difference are rounding, not a change; + 0.0 turns -0.0 into 0.0.
    value = round(value, 12) + 0.0
    is_tiny = 0 < abs(value) < 0.01
    return f"{value:{sign}.2e}" if is_tiny else f"{value:{sign}.3f}"


def _cells(point: Point | None) -> tuple[str, str]:
    if point is None:
        return "-", "-"
    spread = "" if point.standard_error is None else f" ± {point.standard_error:.3f}"
    return number(point.value) + spread, str(point.step)


def small_print(run: Learned) -> list[str]:
    """What belongs under the table and the figure: how pass@k was estimated, the seeds, the command.

    Args:
        run: what the run learned.

    Returns:
        Lines.
    """
    return [
        f"pass@k: unbiased estimator; ± is one standard error over problems; correct from score {run.correct_at:g} on",
        f"seed: {run.command.seed}; one run",
        f"command: {run.command.text}",
    ]


if __name__ == "__main__":
    main()
