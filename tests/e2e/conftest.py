"""Real runs of verl's trainer on the CPU: one at a time, each a driver of its own, all on the tiny model."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import slurm
from nodes import Cluster

from frpo_verl.evaluation.run_log import read_metrics
from frpo_verl.quickstart import reward, task, tiny
from frpo_verl.quickstart.run import Run, processes_of, running

pytest.register_assert_rewrite("assertions")

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
FAULTS = Path(__file__).parent / "faults"
# Against a run that hangs; how fast a fault ends a run is measured from the fault.
TIME_LIMIT_SECONDS = 600
SECONDS_TO_LEAVE = 10

# Small enough for seconds a step; in float32, so that trainer and server can be compared.
OF_RUN_CPU = {
    "TRAIN_BATCH_SIZE": "8",
    "ROLLOUT_N": "4",
    "MICRO_BATCH": "32",
    "ACTOR_LR": "1e-3",
    "DTYPE": "float32",
    "MAX_PROMPT_LENGTH": "48",
    "MAX_RESPONSE_LENGTH": "8",
    "VAL_BEFORE_TRAIN": "False",
    "TEST_FREQ": "-1",
}
STEPS = "3"


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
def knobs_of(tmp_path_factory):
    """What a recipe needs to be small: `knobs_of("run_qwen3_4b_fsdp2.sh")`."""
    folder = tmp_path_factory.mktemp("inputs")

    def of(recipe: str) -> dict[str, str]:
        if recipe != "run_cpu.sh":
            # The recipes themselves make the model, once for all runs.
            return {"TINY": "1", "TINY_DIR": str(folder / "tiny"), "STEPS": STEPS, "RUNS": str(folder / "runs")}
        model = tiny.build(folder / "model")
        train_file, val_file = task.write(folder)
        return {
            **OF_RUN_CPU,
            "STEPS": STEPS,
            "MODEL_PATH": str(model),
            "TRAIN_FILES": str(train_file),
            "VAL_FILES": str(val_file),
            "REWARD_FILE": reward.__file__,
        }

    return of


@pytest.fixture(scope="session")
def train(knobs_of, tmp_path_factory):
    """Runs a recipe: `train("name", recipe="run_….sh", METHOD="frpo", overrides=[…], fault="module", cluster=…)`."""

    def run(
        name: str,
        *,
        recipe: str = "run_cpu.sh",
        overrides: tuple[str, ...] = (),
        fault: str | None = None,
        cluster: Cluster | None = None,
        **knobs: str,
    ) -> Ended:
        directory = tmp_path_factory.mktemp(name)
        script, settings = _prepared(recipe, {**knobs_of(recipe), **knobs}, directory, cluster)
        if fault:
            settings |= _injected(fault, directory)
        began = time.monotonic()
        with running(script, settings, directory, overrides) as process:
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
    """frpo on two nodes, by Slurm, then on one with the very same responses."""
    folder = tmp_path_factory.mktemp("two-nodes")
    paper = "run_qwen3_1.7b_fsdp2.sh"
    # verl's own cache of rollouts gives the second run the responses of the first.
    same = (
        "skip.rollout_tq.enable=True",
        "skip.rollout_tq.steps=[1,2,3]",
        f"skip.rollout_tq.dump_dir={folder / 'rollouts'}",
        "trainer.experiment_name=same",
        "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    )
    with slurm.job(folder / "slurm", gpus=1) as environment:
        on_all = (str(RECIPES / paper), *same)
        together = train("together", recipe="slurm.sh", BETA="0.05", overrides=on_all, **environment)
    return together, train("alone", recipe=paper, BETA="0.05", overrides=same)


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
def start(knobs_of, tmp_path_factory):
    """Starts a recipe: `with start("name", recipe="run_….sh", overrides=[…], cluster=…) as started`."""

    @contextlib.contextmanager
    def started(
        name: str,
        *,
        recipe: str = "run_cpu.sh",
        overrides: tuple[str, ...] = (),
        cluster: Cluster | None = None,
        **knobs: str,
    ):
        directory = tmp_path_factory.mktemp(name)
        script, settings = _prepared(recipe, {**knobs_of(recipe), **knobs}, directory, cluster)
        with running(script, settings, directory, overrides) as run:
            yield Started(run)

    return started


def _prepared(
    recipe: str, settings: dict[str, str], directory: Path, cluster: Cluster | None
) -> tuple[Path, dict[str, str]]:
    if cluster is None:
        return RECIPES / recipe, settings
    return cluster.recipe(RECIPES / recipe, directory), settings | cluster.variables


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
