"""`frpo-verl quickstart`: FRPO through verl's real trainer on a small real task, and what it learned."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from frpo_verl.evaluation import report
from frpo_verl.evaluation.runs import read_run
from frpo_verl.quickstart import reward, smollm2, task, tiny
from frpo_verl.quickstart.progress import Clock, follow
from frpo_verl.quickstart.run import RunError, reasons, running

EPILOG = """\
Knobs of the recipe (METHOD, BETA, STEPS, ACTOR_LR, SEED, DRY_RUN, ...) are read from the environment; what stands after
-- is passed to verl unchanged.
"""


class Model(NamedTuple):
    """A model of the quickstart: what it is, how it is built, and the recipe's knobs that suit it."""

    description: str
    build: Callable[[Path], Path]
    settings: dict[str, str]


MODELS = {
    "smollm2": Model(
        "SmolLM2-135M-Instruct, carried by a package of the index",
        smollm2.build,
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
        "a small model, warmed up on the spot",
        tiny.build,
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
"""verl logs this when a rollout or its reward raised, and continues with the remaining ones."""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to `commands`."""
    parser = commands.add_parser(
        "quickstart",
        help="train a small model with FRPO on this machine's CPU and show what it learned",
        description="Trains a small model through verl's real trainer on one-digit sums and shows what it learned.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(for_verl=None)
    models = "; ".join(f"{name}: {model.description}" for name, model in MODELS.items())
    parser.add_argument("--model", choices=MODELS, default="smollm2", help=f"{models} (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for models, data and results")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/run_cpu.sh"), help="the script to run")


def run(options: argparse.Namespace) -> int:
    """Builds model and data, runs the recipe, shows the result, and returns the trainer's exit status."""
    # However it is stopped, a quickstart ends the processes that it started.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    clock, overrides = Clock(), tuple(options.for_verl or ())
    try:
        steps = _steps(MODELS[options.model])
        settings = _settings(options, clock)
        if os.environ.get("DRY_RUN") == "1":
            command = ["bash", str(options.recipe), *overrides]
            return subprocess.run(command, env={**os.environ, **settings}).returncode
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.environ.get('METHOD', 'frpo')}-{options.model}"
        with running(options.recipe, settings, options.runs / name, overrides) as started:
            first_step = follow(started, steps, clock)
            status = started.process.poll()
    except (RunError, FileNotFoundError, FileExistsError) as error:
        print(f"frpo-verl: {error}", file=sys.stderr)
        return 1
    return _failed(started.log, status) if status or first_step is None else _show(started.directory, first_step, clock)


def _steps(model: Model) -> int:
    value = os.environ.get("STEPS", model.settings["STEPS"])
    if not value.isdecimal() or int(value) < 1:
        raise RunError(f"STEPS={value}: not a positive whole number; set it to one")
    return int(value)


def _settings(options: argparse.Namespace, clock: Clock) -> dict[str, str]:
    """Builds what the recipe trains on and returns the recipe's knobs."""
    model = MODELS[options.model]
    clock.say(f"model: {model.description}")
    model_path = model.build(options.runs / "models" / options.model)
    clock.say("task: one-digit sums from reasoning-gym, some problems held out")
    train_file, val_file = task.write(options.runs / "data")
    return {name: os.environ.get(name, value) for name, value in model.settings.items()} | {
        "MODEL_PATH": str(model_path.resolve()),
        "TRAIN_FILES": str(train_file.resolve()),
        "VAL_FILES": str(val_file.resolve()),
        "REWARD_FILE": reward.__file__,
    }


def _failed(log: Path, status: int) -> int:
    print(f"\nThe trainer ended with status {status}. Its log, {log}, says:", file=sys.stderr)
    for line in reasons(log):
        print(f"  {line}", file=sys.stderr)
    return status or 1


def _show(directory: Path, first_step: float, clock: Clock) -> int:
    log = directory / "trainer.log"
    failed = log.read_text(errors="replace").count(FAILED_ROLLOUT)
    if failed:
        clock.say(f"warning: rollouts of {failed} prompts failed and are missing below; {reasons(log, most=1)[0]}")
    clock.say(f"done; {first_step:.0f} s from the trainer's start to the end of step 1\n")
    page = report.of_runs({directory.name: [read_run(directory)]})
    print(f"\npage: {page}\neverything else of this run: {directory}")
    return 0
