"""`frpo-verl report`: what one run learned, before and after, as a table and a figure."""

import argparse
import sys
from pathlib import Path

from frpo_verl.evaluation import figures, tables
from frpo_verl.evaluation.learned import read_run
from frpo_verl.evaluation.run_log import RunLogError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "report",
        help="show what one run learned, as a table and a figure",
        description="Prints what a run learned, before and after, and draws it to RUN_DIR/learned.png.",
    )
    parser.add_argument(
        "run_dir",
        metavar="RUN_DIR",
        type=Path,
        help="holds metrics.jsonl (verl's file logger), command.txt (the exact command line) and, if the run "
        "validated, validation/STEP.jsonl (trainer.validation_data_dir)",
    )
    add_score(parser)


def add_score(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which held-out samples are correct."""
    parser.add_argument(
        "--correct-at", type=float, default=1.0, help="a held-out sample is correct from this score on (default: 1)"
    )
    parser.add_argument(
        "--score-key", default="score", help="the field of the validation dumps to read (default: score; often: acc)"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the table and writes the figure; returns 1 where the run cannot be read or drawn."""
    try:
        show(options.run_dir, options.correct_at, options.score_key)
    except (RunLogError, figures.CannotDraw) as error:
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    return 0


def show(run_dir: Path, correct_at: float = 1.0, score_key: str = "score") -> None:
    """Prints the table of a run and writes its figure to `learned.png`; raises as `read_run` and `figures` do."""
    learned = read_run(run_dir, correct_at, score_key)
    print(tables.of_run(learned))
    figures.of_run(learned, run_dir / "learned.png")
