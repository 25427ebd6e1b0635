"""`frpo-verl eval`."""

import argparse
import sys
from pathlib import Path

from frpo_verl.evaluation import arguments
from frpo_verl.offline import command as offline

EPILOG = """\
for instance
  frpo-verl eval runs/seed-1 runs/seed-2 runs/seed-3 --k 1,4,16
  frpo-verl eval runs/x/validation --steps 0:200 --csv pass.csv
  frpo-verl eval runs/x/checkpoints/global_step_200 --prompts aime24.parquet --n 16 --reference Qwen/Qwen3-1.7B

What was stopped goes on when the same command runs again.

exit status: 0 when everything was computed, 1 with problems, 2 for a command line that cannot be read
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "eval",
        help="compute pass@k, mean@k, maj@k, entropy and divergence, with intervals",
        description="Computes what samples say of a model, with intervals over problems and seeds. Several sources are "
        "seeds of one method.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a folder of verl's dumps (trainer.validation_data_dir, trainer.rollout_data_dir) or a run with "
        "validation/; a checkpoint of verl's or a Hugging Face model, which is sampled; or a file of offline-data",
    )
    parser.add_argument("--k", type=_numbers, metavar="K,K", help="of pass@k and others (default: 1, 4, 16, ... and n)")
    parser.add_argument("--steps", metavar="A:B", help="of dumps (default: the last that all sources have)")
    arguments.add_score(parser)
    parser.add_argument("--reference", metavar="MODEL", help="also measure the divergence to this model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the results there, too")
    group = parser.add_argument_group("sampling a model")
    group.add_argument(
        "--samples", metavar="DIR", default="samples", help="keeps graded samples and merged models (default: samples)"
    )
    offline.add_sampling(group)


def run(options: argparse.Namespace) -> int:
    """Prints the table, writes the files, and returns the exit status."""
    from frpo_verl.eval import evaluating

    try:
        return evaluating.evaluate(options)
    except KeyboardInterrupt:
        print("frpo-verl: interrupted; run the same command again, which goes on", file=sys.stderr)
        return 130


def _numbers(word: str) -> list[int]:
    parts = word.split(",")
    if not all(part.isdecimal() for part in parts) or (found := sorted(set(map(int, parts))))[0] < 1:
        raise argparse.ArgumentTypeError(f"{word}: every k is a whole number from 1 on, such as 1,4,16")
    return found
