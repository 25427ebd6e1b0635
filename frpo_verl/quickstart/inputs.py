"""Builds a model of the quickstart and its task for another recipe: `python -m …quickstart.inputs MODEL FOLDER`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from frpo_verl.quickstart import task
from frpo_verl.quickstart.command import MODELS


def main(arguments: Sequence[str]) -> None:
    """Writes FOLDER/models/MODEL, unless it is there, and FOLDER/data/one_digit_sums_{train,held_out}.parquet."""
    parser = argparse.ArgumentParser(prog="python -m frpo_verl.quickstart.inputs", description=main.__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    MODELS[options.model].build(options.folder / "models" / options.model)
    task.write(options.folder / "data")


if __name__ == "__main__":
    main(sys.argv[1:])
