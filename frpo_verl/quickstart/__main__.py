"""`make quickstart`: FRPO through verl's real trainer on a small real task, and what it learned."""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from frpo_verl.quickstart import reward, task
from frpo_verl.quickstart.progress import Clock, follow
from frpo_verl.quickstart.run import RunError, reasons, running


class Model(NamedTuple):
    """A model of the quickstart and the settings that suit it.

    Attributes:
        module: where its `build(folder)` is.
        description: for the user.
        settings: knobs of the recipe.
    """

    module: str
    description: str
    settings: dict[str, str]


MODELS = {
    "smollm2": Model(
        "frpo_verl.quickstart.smollm2",
        "SmolLM2-135M-Instruct, carried by a package of the index",
        {
            "STEPS": "10",
            "ACTOR_LR": "5e-5",
            "TRAIN_BATCH_SIZE": "8",
            "DTYPE": "bfloat16",
            "MAX_PROMPT_LENGTH": "48",
            "MAX_RESPONSE_LENGTH": "16",
        },
    ),
    "tiny": Model(
        "frpo_verl.quickstart.tiny",
        "a small model, warmed up on the spot",
        {
            "STEPS": "20",
            "ACTOR_LR": "1e-3",
            "TRAIN_BATCH_SIZE": "16",
            "DTYPE": "float32",
            "MAX_PROMPT_LENGTH": "48",
            "MAX_RESPONSE_LENGTH": "8",
        },
    ),
}


FAILED_ROLLOUT = "Error in _run_prompt"
"""What verl logs when a rollout or its reward raised; it carries on with those that are left."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line.

    Args:
        arguments: without the program's name.

    Returns:
        The options.
    """
    parser = argparse.ArgumentParser(
        prog="python -m frpo_verl.quickstart",
        description=__doc__,
        epilog="Knobs of the recipe (METHOD, BETA, STEPS, ACTOR_LR, SEED, DRY_RUN, …) are read from the environment; "
        "what follows -- goes to verl as it is.",
    )
    models = "; ".join(f"{name}: {model.description}" for name, model in MODELS.items())
    parser.add_argument("--model", choices=MODELS, default="smollm2", help=f"{models} (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for models, data and results")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/run_cpu.sh"), help="the script to run")
    parser.add_argument("overrides", nargs="*", help="further overrides for verl, after --")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Builds model and data, runs the recipe, and shows the result.

    Args:
        arguments: without the program's name.

    Returns:
        The exit status.
    """
    options, clock = parse(arguments), Clock()
    model = MODELS[options.model]
    steps = _whole_number("STEPS", os.environ.get("STEPS", model.settings["STEPS"]))
    clock.say(f"model: {model.description}")
    model_path = importlib.import_module(model.module).build(options.runs / "models" / options.model)
    clock.say("task: one-digit sums from reasoning-gym, some problems held out")
    train_file, val_file = task.write(options.runs / "data")
    settings = {name: os.environ.get(name, value) for name, value in model.settings.items()} | {
        "MODEL_PATH": str(model_path.resolve()),
        "TRAIN_FILES": str(train_file.resolve()),
        "VAL_FILES": str(val_file.resolve()),
        "REWARD_FILE": reward.__file__,
    }
    if os.environ.get("DRY_RUN") == "1":
        return subprocess.run(
            ["bash", str(options.recipe), *options.overrides], env={**os.environ, **settings}
        ).returncode
    directory = options.runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.environ.get('METHOD', 'frpo')}-{options.model}"
    with running(options.recipe, settings, directory, tuple(options.overrides)) as run:
        first_step = follow(run, steps, clock)
        status = run.process.poll()
    if status != 0 or first_step is None:
        print(f"\nThe trainer ended with status {status}. Its log, {run.log}, says:", file=sys.stderr)
        for line in reasons(run.log):
            print(f"  {line}", file=sys.stderr)
        return status or 1
    failed = run.log.read_text(errors="replace").count(FAILED_ROLLOUT)
    if failed:
        clock.say(f"warning: rollouts of {failed} prompts failed and are missing below; {reasons(run.log, most=1)[0]}")
    clock.say(f"done; {first_step:.0f} s from the trainer's start to the end of step 1")
    _show(directory)
    return 0


def _whole_number(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise RunError(f"{name}={value}: not a positive whole number; set it to one")
    return int(value)


def _show(directory: Path) -> None:
    from frpo_verl.evaluation import report

    print()
    report.main([str(directory)])
    print(f"\nfigure: {directory / 'learned.png'}\neverything else of this run: {directory}")


if __name__ == "__main__":
    # However it is stopped, a quickstart ends what it started.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(main(sys.argv[1:]))
    except RunError as error:
        sys.exit(f"frpo-verl: {error}")
