"""Runs the command `frpo-verl`: a table of commands, light until one of them runs.

A command is a module with `add(commands)`, which adds its parser, and `run(options)`, which returns the exit status. A
command that reads a command line of verl sets the default `for_verl=None`; what stands after -- arrives there, a list.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from frpo_verl.data import command as data
from frpo_verl.doctor import command as doctor
from frpo_verl.eval import command as evaluate
from frpo_verl.evaluation import plot, report
from frpo_verl.offline import command as offline
from frpo_verl.plan import command as plan
from frpo_verl.quickstart import command as quickstart

COMMANDS = {
    "doctor": doctor,
    "plan": plan,
    "data": data,
    "offline-data": offline,
    "quickstart": quickstart,
    "plot": plot,
    "eval": evaluate,
    "report": report,
}
"""Imports nothing heavy: a command imports what it needs when it runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status; without `arguments`, those of this process."""
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # whoever read it has gone, as `head` does; what is left of the output goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _main(arguments: list[str]) -> int:
    own, for_verl = _split(arguments)
    parser = _parser()
    options, unknown = parser.parse_known_args(own)
    if unknown:
        hint = "; write -- before verl's overrides" if any("=" in word for word in unknown) else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if options.command is None:
        parser.print_help()
        return 0 if for_verl is None else 2
    if for_verl is not None:
        if not hasattr(options, "for_verl"):
            parser.error(f"{options.command} takes no --: it does not read a command line of verl")
        options.for_verl = for_verl
    return COMMANDS[options.command].run(options)


def _split(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    if "--" not in arguments:
        return arguments, None
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="frpo-verl", description="FRPO as a plugin for verl.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for module in COMMANDS.values():
        module.add(commands)
    return parser
