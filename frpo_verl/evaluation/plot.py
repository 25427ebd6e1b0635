"""`frpo-verl plot`: the quantities of several runs in one picture."""

import argparse
import sys
from pathlib import Path

from frpo_verl.evaluation import arguments, figures, tables
from frpo_verl.evaluation.compared import compare

KINDS = (".svg", ".png", ".pdf")


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "plot",
        help="draw runs into one picture, with the range over the seeds of each method",
        description="Draws what runs logged into one picture, and prints a table of their last steps and of what was "
        "measured before training.",
    )
    parser.add_argument(
        "picture", type=_picture, help="the file to write; its ending says of which kind: .svg, .png, .pdf"
    )
    arguments.add(parser)


def run(options: argparse.Namespace) -> int:
    """Writes the picture and prints the table; returns 1 where a run cannot be read or nothing can be drawn."""
    runs, unread = arguments.read(options.runs, options.score_key)
    if not runs:
        return 1
    compared = compare(runs, options.correct_at)
    print(f"Means of the last {tables.LAST} steps (range over the seeds); before → stands the policy before training:")
    print(f"\n{tables.of_methods(compared)}")
    for note in compared.notes:
        print(f"frpo-verl: {note}", file=sys.stderr)
    try:
        figures.picture(compared, options.picture)
    except (figures.CannotDraw, OSError) as error:
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    print(f"\npicture: {options.picture}")
    return 1 if unread else 0


def _picture(word: str) -> Path:
    path = Path(word)
    if path.suffix not in KINDS or path.is_dir():
        raise argparse.ArgumentTypeError(f"{word}: not the file of a picture; give {', '.join(KINDS)} before the runs")
    return path
