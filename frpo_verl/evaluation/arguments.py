"""Reads the runs that a command line names: `frpo-verl plot` and `frpo-verl report` take them alike."""

import argparse
import glob
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from frpo_verl.evaluation.metrics import RunLogError
from frpo_verl.evaluation.runs import Run, read_run

RUNS = """\
A RUN is a run's folder, or a log of it: of verl's file logger (metrics.jsonl), of what was printed (trainer.log), of
TensorBoard (an event file), of wandb offline (a .wandb file). NAME=RUN names it; runs of one name are seeds of one
method. A quoted pattern stands for several: 'frpo=runs/frpo-*'.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the runs, and the options of `add_score`."""
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="see below")
    parser.epilog, parser.formatter_class = RUNS, argparse.RawDescriptionHelpFormatter
    add_score(parser)


def add_score(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which held-out samples are correct."""
    parser.add_argument(
        "--correct-at", type=_score, default=1.0, help="a held-out sample is correct from this score on (default: 1)"
    )
    parser.add_argument(
        "--score-key", default="score", help="the field of the validation dumps to read (default: score; often: acc)"
    )


def read(words: Sequence[str], score_key: str) -> tuple[dict[str, list[Run]], int]:
    """Returns the runs of each name, and how many could not be read, each of which is a sentence on stderr."""
    runs: dict[str, list[Run]] = {}
    unread = 0
    known: set[tuple[str, Path]] = set()
    for name, path in named(words):
        if (name, path.resolve()) in known:
            print(f"frpo-verl: {path} is named twice as {name}, and counts once", file=sys.stderr)
            continue
        known.add((name, path.resolve()))
        try:
            runs.setdefault(name, []).append(read_run(path, score_key))
        except (RunLogError, OSError) as error:
            unread += 1
            print(f"frpo-verl: {error}", file=sys.stderr)
    return {name: found for name, found in runs.items() if found}, unread


def named(words: Sequence[str]) -> list[tuple[str, Path]]:
    """Returns each run with its name; without one, that of its folder, or its path where two folders share a name."""
    found: list[tuple[str, Path]] = []
    for word in words:
        # a path may hold a =
        name, equals, pattern = ("", "", word) if Path(word).exists() else word.partition("=")
        name, pattern = (name, pattern) if equals else ("", word)
        paths = [Path(pattern)] if Path(pattern).exists() else [Path(path) for path in sorted(glob.glob(pattern))]
        found += [(name, path) for path in paths or [Path(pattern)]]
    folders = [_folder(path) for name, path in found if not name]
    return [(name or (_folder(path) if folders.count(_folder(path)) == 1 else str(path)), path) for name, path in found]


def _folder(path: Path) -> str:
    path = path.resolve()
    return path.parent.name if path.name in ("metrics.jsonl", "trainer.log") else path.name


def _score(word: str) -> float:
    try:
        score = float(word)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise argparse.ArgumentTypeError(f"{word}: not a number; give a score, such as 0.5")
    return score
