"""`frpo-verl data`."""

import argparse
import sys

from frpo_verl import data
from frpo_verl.data import catalogue, gym_tasks

EPILOG = """\
for instance
  frpo-verl data dapo_math_17k math500 aime24        from the Hugging Face hub
  frpo-verl data math500 --source test.jsonl         from a file (.jsonl .json .csv .tsv, also .gz; .parquet)
  frpo-verl data gsm8k --source gsm8k/               from a clone of the repository
  frpo-verl data reasoning_gym:chain_sum --size 5000 made on the spot
  frpo-verl data --verify                            check what is there

exit status: 0 when everything is there, 1 with problems, 2 for a command line that cannot be read
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the subcommand.

    Args:
        commands: to add to.
    """
    parser = commands.add_parser(
        "data",
        help="make the parquet files of training and test problems",
        description="Turns sets of problems into verl's parquet files. Without a name it lists them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, or reasoning_gym:TASK")
    parser.add_argument("--output", metavar="DIR", default=str(data.OUTPUT), help="default: %(default)s")
    parser.add_argument("--source", metavar="FILE", help="a file, a folder, or the hub's owner/name")
    parser.add_argument("--limit", metavar="N", type=int, help="stop after N problems a file")
    default = data.Draw()
    parser.add_argument("--size", metavar="N", type=int, help=f"reasoning-gym: problems drawn ({default.size})")
    parser.add_argument("--seed", metavar="N", type=int, help=f"reasoning-gym: its seed ({default.seed})")
    parser.add_argument(
        "--held-out", metavar="SHARE", type=float, help=f"reasoning-gym: for the test file ({default.held_out})"
    )
    parser.add_argument("--verify", action="store_true", help="check the files of --output instead")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand.

    Args:
        options: of the command line.

    Returns:
        The exit status.
    """
    try:
        if options.verify:
            return _verify(options.output)
        if not options.names:
            print(_list())
            return 0
        draw = _draw(options)
        for name in options.names:
            _ = gym_tasks.parts(name) if name.startswith(data.GYM) else catalogue.parts(name)
        for name in options.names:
            for built in data.build(name, output=options.output, source=options.source, limit=options.limit, draw=draw):
                print(_line(built))
    except data.DataError as error:
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("frpo-verl: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _draw(options: argparse.Namespace) -> data.Draw:
    given = {name: getattr(options, name) for name in data.Draw._fields if getattr(options, name) is not None}
    others = [name for name in options.names if not name.startswith(data.GYM)]
    if given and others:
        option = next(iter(given)).replace("_", "-")
        raise data.DataError(f"--{option} with {others[0]}: only {data.GYM}TASK is drawn; leave the option out")
    if options.source is not None and len(options.names) > 1:
        raise data.DataError(
            f"--source {options.source} with {len(options.names)} names: it is the source of one set; give one name"
        )
    return data.Draw(**given)


def _verify(folder: str) -> int:
    problems = data.verify(folder)
    for problem in problems:
        print(f"frpo-verl: {problem}", file=sys.stderr)
    if not problems:
        print(f"{folder}: every file is as it was built, and no train set has a problem of a test set")
    return 1 if problems else 0


def _list() -> str:
    lines = []
    for name, parts in data.SETS.items():
        for part in parts:
            rows = f"{part.rows} rows" if part.rows else "about 14,000 rows"
            lines.append(f"  {name:<16}{part.name}.parquet, {part.split}, {rows}, {part.hubs[0].repository}")
    lines.append(f"  {data.GYM}TASK  reasoning_gym_TASK_train.parquet and …_test.parquet, made on the spot")
    return "\n".join(lines)


def _line(built: data.Built) -> str:
    notes = [f"{count} {reason}" for reason, count in built.dropped.items()]
    text = f"{built.path}: {built.rows} rows, sha256 {built.sha256}"
    text += f"\n  left out: {', '.join(notes)}" if notes else ""
    text += "\n  was there already" if built.reused else ""
    text += f"\n  went on after row {built.resumed}" if built.resumed else ""
    for train, rows in built.taken.items():
        text += f"\n  {rows} problems of it were in {train}.parquet and are taken out there"
    return text + (f"\n  warning: {built.remark}" if built.remark else "")
