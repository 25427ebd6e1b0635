"""Runs verl's real trainer on the CPU: one run at a time, each with a driver of its own, all on the tiny model."""

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import slurm

from frpo_verl.evaluation.sources import read_log
from frpo_verl.quickstart.run import Run, processes_of, running

pytest.register_assert_rewrite("assertions")

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
FAULTS = Path(__file__).parent / "faults"
# Against a run that hangs; how fast a fault ends a run is measured from the fault.
TIME_LIMIT_SECONDS = 1200
SECONDS_TO_LEAVE = 10
STEPS = "3"
# Ray's workers are nice to others unless told: the other tests beside these runs would come first.
PRIORITY = {"RAY_worker_niceness": "0"}


class Ended(NamedTuple):
    """A run that is over.

    Attributes:
        status: the driver's exit status.
        steps: metrics of each step.
        log: everything that was printed.
        directory: RUN_DIR.
        fault_seconds: from the injected fault to the end, if there was one.
        left_behind: command lines of processes that the driver did not take with it.
    """

    status: int
    steps: list[dict[str, float]]
    log: str
    directory: Path
    fault_seconds: float | None
    left_behind: list[str]


class Started(NamedTuple):
    """A run in progress, until the `with` block ends."""

    name: str
    run: Run
    began: float

    def steps(self) -> list[dict[str, float]]:
        """Returns the metrics of the steps so far."""
        metrics = self.run.directory / "metrics.jsonl"
        return [step.metrics for step in read_log(metrics).steps] if metrics.exists() and metrics.stat().st_size else []

    def saved(self) -> int:
        """Returns the step of the newest checkpoint that counts."""
        tracker = self.run.directory / "checkpoints" / "latest_checkpointed_iteration.txt"
        return int(tracker.read_text() or 0) if tracker.exists() else 0

    def wait_between_checkpoints(self, steps: int) -> None:
        """Returns after so many steps, between a step's log line, which follows its checkpoint, and the next one."""
        deadline = time.monotonic() + TIME_LIMIT_SECONDS
        while (done := len(self.steps())) < steps or self.saved() != done:
            log = self.run.log.read_text(errors="replace")
            assert self.run.process.poll() is None and time.monotonic() < deadline, log[-3000:]
            time.sleep(0.1)

    def end(self, limit: float = TIME_LIMIT_SECONDS) -> Ended:
        """Waits for the end of the run and sees what it leaves behind."""
        status = self.run.process.wait(timeout=limit)
        ended, seconds = time.time(), time.monotonic() - self.began
        left_behind = _left_behind(self.run)
        marker = self.run.directory / "fault"
        fault_seconds = ended - marker.stat().st_mtime if marker.exists() else None
        since_fault = f", {fault_seconds:.0f} s after the fault" if fault_seconds is not None else ""
        print(f"\n{self.name}: status {status}, {seconds:.0f} s{since_fault}")
        log = self.run.log.read_text(errors="replace")
        return Ended(status, self.steps(), log, self.run.directory, fault_seconds, left_behind)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Starts a recipe: `with start(NAME, recipe="run_….sh", overrides=(…), fault="module") as started`."""
    # The recipes themselves make the models, once for all runs.
    folder = tmp_path_factory.mktemp("inputs")
    small = {"TINY": "1", "TINY_DIR": str(folder / "tiny"), "STEPS": STEPS, "RUNS": str(folder / "runs"), **PRIORITY}

    @contextlib.contextmanager
    def started(name: str, *, recipe: str, overrides: tuple[str, ...] = (), fault: str | None = None, **knobs: str):
        directory = tmp_path_factory.mktemp(name)
        settings = {**small, **knobs, **(_injected(fault, directory) if fault else {})}
        began = time.monotonic()
        with running(RECIPES / recipe, settings, directory, overrides) as run:
            yield Started(name, run, began)

    return started


@pytest.fixture(scope="session")
def train(start):
    """Runs a recipe to its end: `train(NAME, recipe="run_….sh", overrides=(…), fault="module", BETA="0.05")`."""

    def run(name: str, **how) -> Ended:
        with start(name, **how) as started:
            return started.end()

    return run


@pytest.fixture(scope="session")
def on_two_nodes_and_one(start, train, tmp_path_factory) -> tuple[Ended, Ended]:
    """Trains on Megatron on two nodes of Slurm, one of which dies; then on FSDP2 on one, with the same responses."""
    folder = tmp_path_factory.mktemp("two-nodes")
    # verl's own cache of rollouts gives the second run the responses of the first.
    same = (
        "skip.rollout_tq.enable=True",
        "skip.rollout_tq.steps=[1,2,3]",
        f"skip.rollout_tq.dump_dir={folder / 'rollouts'}",
        "trainer.experiment_name=same",
        "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    )
    with slurm.job(folder / "slurm", gpus=1) as job:
        on_all = (str(RECIPES / "run_qwen3_1.7b_megatron.sh"), *same)
        forever = {"BETA": "0.05", "SAVE_FREQ": "1", "STEPS": "50"}
        with start("together", recipe="slurm.sh", overrides=on_all, **forever, **job.environment) as started:
            started.wait_between_checkpoints(3)
            (started.run.directory / "fault").touch()
            job.kill_second()
            together = started.end()
    return together, train("alone", recipe="run_qwen3_1.7b_fsdp2.sh", BETA="0.05", overrides=same)


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


def _injected(fault: str, directory: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH"))))
    return {"VERL_USE_EXTERNAL_MODULES": fault, "PYTHONPATH": path, "FAULT_MARKER": str(directory / "fault")}
