"""`frpo-verl curves`: runs next to each other, with the range over the seeds of each method."""

import argparse
import sys
from pathlib import Path

from frpo_verl.evaluation import figures, report, tables
from frpo_verl.evaluation.compared import compare
from frpo_verl.evaluation.run_log import RunLogError


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "curves",
        help="compare runs, with the range over the seeds of each method",
        description="Draws several runs over their steps and prints a table of their last steps, and of what was "
        "measured before training. Runs of one name are seeds of one method: their mean is a line, their least and "
        "greatest value a band.",
    )
    parser.add_argument("png", type=Path, help="the figure to write")
    parser.add_argument("runs", nargs="+", type=_named, metavar="NAME=RUN_DIR")
    report.add_score(parser)


def run(options: argparse.Namespace) -> int:
    """Writes the figure and prints the table; returns 1 where a run cannot be read or drawn."""
    methods: dict[str, list[Path]] = {}
    for name, folder in options.runs:
        methods.setdefault(name, []).append(folder)
    try:
        compared = compare(methods, options.correct_at, options.score_key)
        print(
            f"Means of the last {tables.LAST} steps (range over the seeds); before → stands the policy before training:"
        )
        print(f"\n{tables.of_methods(compared)}")
        figures.of_methods(compared, options.png)
    except (RunLogError, figures.CannotDraw) as error:
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    return 0


def _named(word: str) -> tuple[str, Path]:
    name, equals, folder = word.partition("=")
    if not equals or not (Path(folder) / "metrics.jsonl").is_file():
        raise argparse.ArgumentTypeError(f"{word}: not NAME=RUN_DIR with a metrics.jsonl in RUN_DIR")
    return name, Path(folder)
