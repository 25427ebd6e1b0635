"""Measures FRPO's training step against GRPO with a KL loss, with a KL in the reward, and without KL.

`python tests/benchmarks/step_cost.py`, or with `--help`. Each run is `recipes/run_cpu.sh` through verl's own trainer
(V1 sync, FSDP2 over gloo, vLLM's CPU build), with another METHOD and the same prompts; all responses have the same
length. All runs are done by one start of Ray and vLLM (`recipes/study/README.md`), in rounds of the four methods, every
other round backwards. A run has the median of its steps after the first two, ratios are paired by round, and their
interval is Student's at 95 % on the logarithms. `--read FOLDER` prints the table of an earlier call, or of one that was
stopped.
"""

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
for folder in ("tests", "tests/recipes", "recipes"):
    sys.path.append(str(ROOT / folder))

from composed import caught  # noqa: E402

from frpo_verl.evaluation import file_log, metrics  # noqa: E402
from frpo_verl.evaluation.intervals import over_seeds  # noqa: E402

BASELINE, OURS = "kl_loss", "frpo"
METHODS = {
    BASELINE: ("GRPO, KL loss", BASELINE, ()),
    "kl_reward": ("GRPO, KL reward", "no_kl", ("algorithm.use_kl_in_reward=True",)),
    "no_kl": ("GRPO, no KL", "no_kl", ()),
    OURS: ("FRPO", OURS, ()),
}
"""Each method's title, the recipe's METHOD, and overrides after it."""
SCALES = {
    "tiny": {"OMP_NUM_THREADS": "1", "MAX_RESPONSE_LENGTH": "16"},
    "smollm2": {"TRAIN_BATCH_SIZE": "4", "ROLLOUT_N": "4", "MICRO_BATCH": "16", "MAX_RESPONSE_LENGTH": "64"},
}
"""Knobs of the recipe by the quickstart's model, beyond those that the quickstart sets."""
SAME = (
    "actor_rollout_ref.rollout.ignore_eos=True",
    "trainer.val_before_train=False",
    "trainer.test_freq=-1",
    "trainer.rollout_data_dir=null",
)
PHASES = ("gen", "old_log_prob", "ref", "adv", "update_actor", "update_weights", "step")
WARM = 2
"""Steps of a run that are not counted."""
MIB = 2**20


class Run(NamedTuple):
    """Holds the costs of one run.

    Attributes:
        method: a name of METHODS.
        turn: of which round.
        seconds: the median of each phase that it has.
        fastest: the least of the same steps, which other work on the machine changes less.
        first: seconds of its first step.
        held: peak bytes of the driver, the worker and TransferQueue's storage unit.
        moved: bytes into and out of the storage unit, a step.
        lengths: of the shortest and the longest responses, in tokens.
    """

    method: str
    turn: int
    seconds: dict[str, float]
    fastest: dict[str, float]
    first: float
    held: dict[str, float]
    moved: dict[str, float]
    lengths: set[float]


def order(rounds: int) -> list[tuple[int, str]]:
    """Returns the runs in their order: A B C D, D C B A, …"""
    return [(turn, name) for turn in range(rounds) for name in (METHODS if turn % 2 == 0 else reversed(METHODS))]


def prepare(folder: Path, knobs: dict[str, str], rounds: int) -> tuple[dict[str, str], list[Path]]:
    """Writes each run's overrides, those of the recipe; returns the recipe's environment and the runs' folders."""
    environment, found = {}, {}
    for name, (_, method, overrides) in METHODS.items():
        place = folder / "recipe" / name
        run = caught("run_cpu.sh", folder / "recipe", *SAME, *overrides, RUN_DIR=str(place), METHOD=method, **knobs)
        if run.status:
            raise SystemExit(run.said)
        words = shlex.split((place / "command.txt").read_text())
        environment = dict(word.split("=", 1) for word in words[: words.index("python")])
        found[name] = (place / "overrides.txt").read_text().replace(str(place), "RUN_DIR")
    folders = []
    for turn, name in order(rounds):
        folders.append(folder / f"{turn}-{name}")
        folders[-1].mkdir()
        ledger = f"+transfer_queue.backend.SimpleStorage.ledger='{folders[-1] / 'transfer_queue.jsonl'}'"
        (folders[-1] / "overrides.txt").write_text(found[name].replace("RUN_DIR", str(folders[-1])) + ledger + "\n")
    return environment, folders


def measure(model: str, folder: Path, rounds: int, steps: int) -> None:
    """Makes model and data, and does all runs; the trainer's words are in `trainer.log`."""
    from frpo_verl.quickstart import task
    from frpo_verl.quickstart.command import MODELS

    shared, kind = folder.parent, MODELS[model]
    train, held_out = task.write(shared / "data")
    knobs = (
        kind.settings
        | SCALES[model]
        | {
            "STEPS": str(steps),
            "MODEL_PATH": str(kind.build(shared / "models" / model)),
            "TRAIN_FILES": str(train),
            "VAL_FILES": str(held_out),
            "REWARD_FILE": str(Path(__file__).with_name("step_runs.py")),
        }
    )
    environment, folders = prepare(folder, knobs, rounds)
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "recipes"), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-P", "-m", "benchmarks.step_runs", *map(str, folders)]
    (folder / "about.txt").write_text(about(model, knobs, rounds, steps))
    with (folder / "trainer.log").open("w") as log:
        command = subprocess.run(
            words, env={**os.environ, **environment, "PYTHONPATH": path}, stdout=log, stderr=subprocess.STDOUT
        )
    if command.returncode:
        raise SystemExit(f"a run failed: {folder / 'trainer.log'}")


def about(model: str, knobs: dict[str, str], rounds: int, steps: int) -> str:
    """Says what is measured, and on what."""
    from importlib.metadata import packages_distributions, version

    # vLLM's CPU build has another name in the index.
    named = {module: packages_distributions()[module][0] for module in ("verl", "vllm", "torch", "transfer_queue")}
    packages = ", ".join(f"{name} {version(name)}" for name in named.values())
    size = f"{knobs['TRAIN_BATCH_SIZE']} prompts × {knobs.get('ROLLOUT_N', '8')} responses"
    return (
        f"{model}: {size} × {knobs['MAX_RESPONSE_LENGTH']} tokens, {knobs['DTYPE']}; {rounds} rounds of "
        f"{len(METHODS)} runs of {steps} steps, of which {WARM} are not counted.\n"
        f"{os.cpu_count()} cores, load before the start {os.getloadavg()[0]:.2f}; {packages}."
    )


def read(folder: Path) -> list[Run]:
    """Reads the runs that were finished; raises `ValueError` where their responses are not of one length
    or no round is whole."""
    found = [read_run(mark.parent) for mark in sorted(folder.glob("*/finished"))]
    lengths = {length for run in found for length in run.lengths}
    if len(lengths) > 1:
        raise ValueError(f"{folder}: responses have {min(lengths):.0f} to {max(lengths):.0f} tokens, not one length")
    whole = {run.turn for run in found if {of.method for of in found if of.turn == run.turn} == METHODS.keys()}
    if not whole:
        raise ValueError(f"{folder}: no round is finished; measure again")
    return [run for run in found if run.turn in whole]


def read_run(folder: Path) -> Run:
    """Reads one run."""
    file = folder / "metrics.jsonl"
    log = metrics.joined(file, file_log.records(file))
    if log.notes:
        raise ValueError("; ".join(log.notes))
    steps = [step.metrics for step in log.steps if "timing_s/step" in step.metrics]
    counted = steps[WARM:]
    requests = [json.loads(line) for line in (folder / "transfer_queue.jsonl").read_text().splitlines()]
    times = {
        phase: [step[f"timing_s/{phase}"] for step in counted] for phase in PHASES if f"timing_s/{phase}" in counted[0]
    }
    turn, method = folder.name.split("-", 1)
    return Run(
        method,
        int(turn),
        {phase: median(of) for phase, of in times.items()},
        {phase: min(of) for phase, of in times.items()},
        steps[0]["timing_s/step"],
        json.loads((folder / "memory.json").read_text()) | {"TransferQueue": max(line["peak"] for line in requests)},
        {way: sum(line[way] for line in requests) / len(steps) for way in ("received", "sent")},
        {step[f"response_length/{end}"] for step in steps for end in ("min", "max")},
    )


def ratio(runs: Sequence[Run], method: str, of: Callable[[Run], float]) -> str:
    """Returns a method's ratio to the KL loss, the geometric mean over rounds, with its interval."""
    ours, theirs = ({run.turn: of(run) for run in runs if run.method == name} for name in (method, BASELINE))
    logs = [math.log(ours[turn] / theirs[turn]) for turn in sorted(ours)]
    interval = over_seeds(logs)
    between = f" [{math.exp(interval.low):.2f}, {math.exp(interval.high):.2f}]" if interval else ""
    return f"{math.exp(fmean(logs)):.2f}×{between}"


def row(runs: Sequence[Run], title: str, of: Callable[[Run], float | None], form: str) -> str:
    """Returns a line: the median of each method's runs, and each other method's ratio to the KL loss."""
    values = {name: [of(run) for run in runs if run.method == name] for name in METHODS}
    known = [name for name in METHODS if None not in values[name]]
    cells = [format(median(values[name]), form) if name in known else "–" for name in METHODS]
    cells += [ratio(runs, name, of) if name in known else "–" for name in METHODS if name != BASELINE]
    return f"| {title} | {' | '.join(cells)} |"


def table(runs: Sequence[Run]) -> str:
    """Returns all that was measured as Markdown."""
    titles = [METHODS[name][0] for name in METHODS]
    others = [f"{METHODS[name][0]}, ratio" for name in METHODS if name != BASELINE]
    lines = [f"|  | {' | '.join(titles + others)} |", f"| --- |{' ---: |' * (len(titles) + len(others))}"]
    for phase in PHASES:
        lines.append(row(runs, f"{phase}, s", lambda run, phase=phase: run.seconds.get(phase), ".3f"))
    lines.append(row(runs, "first step, s", lambda run: run.first, ".2f"))
    # One process drives all runs: after FRPO's first, the others have in memory what it imported.
    first = [run for run in runs if run.turn == min(run.turn for run in runs)]
    for process, of in (("driver", first), ("worker", runs), ("TransferQueue", runs)):
        lines.append(row(of, f"peak of {process}, MiB", lambda run, name=process: run.held[name] / MIB, ".0f"))
    for way, title in (("received", "into"), ("sent", "out of")):
        lines.append(row(runs, f"{title} TransferQueue, KiB a step", lambda run, way=way: run.moved[way] / 1024, ".0f"))
    return "\n".join(lines)


def fastest_table(runs: Sequence[Run]) -> str:
    """Returns the fastest of all counted steps, phase by phase, and FRPO's ratio to the KL loss."""
    lines = [f"| fastest | {' | '.join(of[0] for of in METHODS.values())} | FRPO, ratio |", f"| --- |{' ---: |' * 5}"]
    for phase in PHASES:
        of = {
            name: [run.fastest[phase] for run in runs if run.method == name and phase in run.fastest]
            for name in METHODS
        }
        cells = [format(min(values), ".3f") if values else "–" for values in of.values()]
        compared = f"{min(of[OURS]) / min(of[BASELINE]):.2f}×" if of[OURS] and of[BASELINE] else "–"
        lines.append(f"| {phase}, s | {' | '.join(cells)} | {compared} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, unless there is something to read, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SCALES, default="tiny")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs/step_cost"), help="folder for models, data and runs")
    parser.add_argument("--read", type=Path, help="folder of an earlier call; nothing is run")
    options = parser.parse_args()
    if options.steps <= WARM or options.rounds < 1:
        parser.error(f"--steps {options.steps} --rounds {options.rounds}: {WARM} steps are not counted; take more")
    folder = options.read
    if folder is None:
        folder = options.runs.resolve() / f"{options.model}-{time.strftime('%Y%m%d-%H%M%S')}"
        (folder / "recipe").mkdir(parents=True)
        measure(options.model, folder, options.rounds, options.steps)
    runs = read(folder)
    print((folder / "about.txt").read_text(), table(runs), fastest_table(runs), sep="\n\n")


if __name__ == "__main__":
    main()
