"""The command `frpo-verl`; light until a subcommand runs."""

import argparse
import sys
from collections.abc import Sequence

from frpo_verl.data import command

EPILOG = """\
Everything after -- is a command line of verl.trainer.main_ppo, or of another of verl's mains from python -m on, for
instance
  frpo-verl doctor -- algorithm.adv_estimator=frpo actor_rollout_ref.rollout.n=5

exit status: 0 without problems, 1 with problems, 2 for a command line that cannot be read
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand.

    Args:
        arguments: the command line without the program's name; None for this process's own.

    Returns:
        The exit status.
    """
    own, separator, for_verl = _split(sys.argv[1:] if arguments is None else list(arguments))
    parser = _parser()
    options, unknown = parser.parse_known_args(own)
    if unknown:
        hint = "; write -- before verl's overrides" if any("=" in word for word in unknown) else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if options.command is None:
        parser.print_help()
        return 2 if separator else 0
    if options.command == "data":
        if separator:
            parser.error("data takes no --: only doctor reads a command line of verl")
        return command.run(options)
    if options.command == "plan":
        from frpo_verl.plan import command as plan

        return plan.run(for_verl, options.gpu_memory)
    return _doctor(options, for_verl if separator else None)


def _doctor(options: argparse.Namespace, for_verl: list[str] | None) -> int:
    from frpo_verl import doctor

    report = doctor.examine(
        for_verl, use_ray=not options.no_ray, ray_address=options.ray_address, ray_seconds=options.ray_timeout
    )
    print(report.as_json() if options.json else report.as_text())
    return 1 if report.problems else 0


def _split(arguments: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in arguments:
        return arguments, False, []
    at = arguments.index("--")
    return arguments[:at], True, arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="frpo-verl", description="FRPO as a plugin for verl.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    doctor = commands.add_parser(
        "doctor",
        help="say whether FRPO can run here, and what a given verl command line would run",
        description="Says whether FRPO can run here and in Ray's workers, and what a verl command line would run.",
        usage="frpo-verl doctor [--json] [--no-ray] [--ray-address ADDRESS] [--ray-timeout SECONDS] [-- OVERRIDE ...]",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    doctor.add_argument("--no-ray", action="store_true", help="do not ask Ray's workers")
    doctor.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="the Ray cluster whose nodes are asked, for instance auto "
        "(default: the command line's, else RAY_ADDRESS, else a Ray of its own for the moment)",
    )
    doctor.add_argument(
        "--ray-timeout", metavar="SECONDS", type=float, default=60.0, help="how long Ray may take (default: 60)"
    )
    plan = commands.add_parser(
        "plan",
        help="print what a verl command line resolves to and the memory that it expects per GPU",
        description="Prints the resolved configuration as YAML; on standard error, the memory that the run is expected "
        "to take of each GPU, and what keeps it from running.",
        usage="frpo-verl plan [--gpu-memory GIB] -- [python -m MAIN] OVERRIDE ...",
        epilog=EPILOG.replace("doctor", "plan"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plan.add_argument(
        "--gpu-memory",
        metavar="GIB",
        type=float,
        help="what one GPU has, for instance 80; a plan that does not fit it is a warning",
    )
    command.add(commands)
    return parser
