"""`frpo-verl doctor`."""

import argparse

from frpo_verl import doctor

EPILOG = """\
Everything after -- is a command line of verl.trainer.main_ppo, or of another of verl's mains from python -m on, for
instance
  frpo-verl doctor -- algorithm.adv_estimator=frpo actor_rollout_ref.rollout.n=5

exit status: 0 without problems, 1 with problems, 2 for a command line that cannot be read
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "doctor",
        help="say whether FRPO can run here, and what a given verl command line would run",
        description="Says whether FRPO can run here and in Ray's workers, and what a verl command line would run.",
        usage="frpo-verl doctor [--json] [--no-ray] [--ray-address ADDRESS] [--ray-timeout SECONDS] [-- OVERRIDE ...]",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(for_verl=None)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--no-ray", action="store_true", help="do not ask Ray's workers")
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="the Ray cluster whose nodes are asked, for instance auto "
        "(default: the command line's, else RAY_ADDRESS, else the one that `ray start` joined, else a Ray of its own)",
    )
    parser.add_argument(
        "--ray-timeout", metavar="SECONDS", type=float, default=60.0, help="how long Ray may take (default: 60)"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the report and returns 1 if it has problems, else 0."""
    report = doctor.examine(
        options.for_verl, use_ray=not options.no_ray, ray_address=options.ray_address, ray_seconds=options.ray_timeout
    )
    print(report.as_json() if options.json else report.as_text())
    return 1 if report.problems else 0
