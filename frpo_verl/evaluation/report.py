"""`frpo-verl report`: runs on one page of HTML; of a single run also its table, before and after training."""

import argparse
import sys
from pathlib import Path

from frpo_verl.evaluation import arguments, figures, html_page, tables
from frpo_verl.evaluation.compared import compare
from frpo_verl.evaluation.learned import learned
from frpo_verl.evaluation.runs import Run


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "report",
        help="show what runs learned, on one page of HTML",
        description="Writes runs to one page of HTML that loads nothing: pictures, their numbers, commands, versions. "
        "Of a single run it also prints what it learned, before and after.",
    )
    arguments.add(parser)
    parser.add_argument(
        "-o", "--output", type=_page, help="the page (default: report.html, of a single run in its folder)"
    )


def run(options: argparse.Namespace) -> int:
    """Writes the page and prints the table of a single run; returns 1 where a run cannot be read or drawn."""
    runs, unread = arguments.read(options.runs, options.score_key)
    if not runs:
        return 1
    try:
        print(f"\npage: {of_runs(runs, options.output, options.correct_at)}")
    except BrokenPipeError:
        raise
    except (figures.CannotDraw, OSError) as error:
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    return 1 if unread else 0


def of_runs(runs: dict[str, list[Run]], output: Path | None = None, correct_at: float = 1.0) -> Path:
    """Prints the table of a single run, or of the methods, and writes the page; returns its path."""
    compared = compare(runs, correct_at)
    every = [run for seeds in runs.values() for run in seeds]
    print(tables.of_run(learned(every[0], correct_at)) if len(every) == 1 else tables.of_methods(compared))
    for note in compared.notes:
        print(f"frpo-verl: {note}", file=sys.stderr)
    folder = every[0].path if every[0].path.is_dir() else every[0].path.parent
    output = output or (folder if len(every) == 1 else Path()) / "report.html"
    html_page.write(compared, output, correct_at)
    return output


def _page(word: str) -> Path:
    if Path(word).is_dir():
        raise argparse.ArgumentTypeError(f"{word}: a folder; name a file in it, such as report.html")
    return Path(word)
