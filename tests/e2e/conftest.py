"""Real runs of verl's trainer on the CPU: one at a time, each a driver of its own, all on the tiny model."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from nodes import Cluster, two_nodes

from frpo_verl.evaluation.run_log import read_metrics
from frpo_verl.quickstart import reward, task, tiny
from frpo_verl.quickstart.run import Run, processes_of, running

pytest.register_assert_rewrite("assertions")

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "run_cpu.sh"
FAULTS = Path(__file__).parent / "faults"
# Against a run that hangs; how fast a fault ends a run is measured from the fault.
TIME_LIMIT_SECONDS = 600
SECONDS_TO_LEAVE = 10

# Small enough for seconds a step; in float32, so that trainer and server can be compared.
KNOBS = {
    "STEPS": "3",
    "PROMPTS": "8",
    "GROUP_SIZE": "4",
    "MICRO_BATCH": "32",
    "LR": "1e-3",
    "DTYPE": "float32",
    "MAX_PROMPT": "48",
    "MAX_RESPONSE": "8",
    "VAL_BEFORE": "False",
    "VAL_EVERY": "-1",
}


class Ended(NamedTuple):
    """A run that is over.

    Attributes:
        status: the driver's exit status.
        steps: metrics of each step.
        log: everything that was printed.
        directory: RUN_DIR.
        seconds: how long it took.
        fault_seconds: from the injected fault to the end, if there was one.
        left_behind: command lines of processes that the driver did not take with it.
    """

    status: int
    steps: list[dict[str, float]]
    log: str
    directory: Path
    seconds: float
    fault_seconds: float | None
    left_behind: list[str]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> dict[str, str]:
    """Model, data and reward of the recipe."""
    folder = tmp_path_factory.mktemp("inputs")
    model = tiny.build(folder / "tiny")
    train_file, val_file = task.write(folder)
    return {
        "MODEL_PATH": str(model),
        "TRAIN_FILE": str(train_file),
        "VAL_FILE": str(val_file),
        "REWARD_FILE": reward.__file__,
    }


@pytest.fixture(scope="session")
def train(inputs, tmp_path_factory):
    """Runs the recipe: `train("name", METHOD="frpo", overrides=[…], fault="module", cluster=…)`."""

    def run(
        name: str,
        *,
        overrides: tuple[str, ...] = (),
        fault: str | None = None,
        cluster: Cluster | None = None,
        **knobs: str,
    ) -> Ended:
        directory = tmp_path_factory.mktemp(name)
        recipe = RECIPE
        if cluster:
            recipe, knobs = cluster.recipe(RECIPE, directory), {**knobs, **cluster.variables}
        settings = {**KNOBS, **inputs, **knobs, **(_injected(fault, directory) if fault else {})}
        began = time.monotonic()
        with running(recipe, settings, directory, overrides) as process:
            status = process.process.wait(timeout=TIME_LIMIT_SECONDS)
            ended = time.time()
            seconds = time.monotonic() - began
            left_behind = _left_behind(process)
        log = process.log.read_text(errors="replace")
        steps = steps_of(directory)
        marker = directory / "fault"
        fault_seconds = ended - marker.stat().st_mtime if marker.exists() else None
        since_fault = f", {fault_seconds:.0f} s after the fault" if fault_seconds is not None else ""
        print(f"\n{name}: status {status}, {seconds:.0f} s{since_fault}")
        return Ended(status, steps, log, directory, seconds, fault_seconds, left_behind)

    return run


@pytest.fixture(scope="session")
def on_two_nodes_and_one(train, tmp_path_factory) -> tuple[Ended, Ended]:
    """frpo on two nodes of two ranks each, then on one rank of one node with the very same responses."""
    folder = tmp_path_factory.mktemp("two-nodes")
    # verl's own cache of rollouts gives the second run the responses of the first.
    same = (
        "skip.rollout_tq.enable=True",
        "skip.rollout_tq.steps=[1,2,3]",
        f"skip.rollout_tq.dump_dir={folder / 'rollouts'}",
        "trainer.experiment_name=same",
    )
    knobs = {"METHOD": "frpo", "BETA": "0.05", "MICRO_BATCH": "8", "overrides": same}
    with two_nodes(folder, places=2) as cluster:
        together = train("together", NODES="2", RANKS="2", cluster=cluster, **knobs)
    return together, train("alone", **knobs)


class Started(NamedTuple):
    """A run that is going on, until the `with` block ends or it is killed."""

    run: Run

    def kill(self) -> None:
        """SIGKILL to all its processes, as when the power fails."""
        for process in processes_of(self.run):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.run.process.wait()

    def steps(self) -> list[dict[str, float]]:
        """Metrics of the steps so far."""
        return steps_of(self.run.directory)


@pytest.fixture(scope="session")
def start(inputs, tmp_path_factory):
    """Starts the recipe: `with start("name", METHOD="frpo", overrides=[…], cluster=…) as started`."""

    @contextlib.contextmanager
    def started(name: str, *, overrides: tuple[str, ...] = (), cluster: Cluster | None = None, **knobs: str):
        directory = tmp_path_factory.mktemp(name)
        recipe = RECIPE
        if cluster:
            recipe, knobs = cluster.recipe(RECIPE, directory), {**knobs, **cluster.variables}
        with running(recipe, {**KNOBS, **inputs, **knobs}, directory, overrides) as run:
            yield Started(run)

    return started


def _left_behind(run: Run) -> list[str]:
    # Ray's and vLLM's helpers end when their pipe closes, which on a busy machine is after the driver's own end.
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    while (left := processes_of(run)) and time.monotonic() < deadline:
        time.sleep(0.2)
    found = []
    for process in left:
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def steps_of(directory: Path) -> list[dict[str, float]]:
    """Metrics of each step that verl has logged."""
    metrics = directory / "metrics.jsonl"
    return [step.metrics for step in read_metrics(metrics)] if metrics.exists() and metrics.stat().st_size else []


def _injected(fault: str, directory: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH"))))
    return {"VERL_USE_EXTERNAL_MODULES": fault, "PYTHONPATH": path, "FAULT_MARKER": str(directory / "fault")}
