"""Shows a run to a waiting user: its phase while it starts, then a line per step."""

import time
from pathlib import Path
from typing import NamedTuple

from frpo_verl.evaluation.metrics import RunLogError, Step
from frpo_verl.evaluation.series import DIVERGENCE, ENTROPY, REWARD, series
from frpo_verl.evaluation.sources import read_log
from frpo_verl.quickstart.run import Run

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15

SHOWN = (
    ("reward", REWARD, ".2f"),
    ("divergence", DIVERGENCE, ".3f"),
    ("entropy", ENTROPY, ".2f"),
    ("seconds", ("timing_s/step",), ".0f"),
)
"""The figures in the line of a step: name, metrics, format."""


class Phase(NamedTuple):
    """A part of the start, and the text in the trainer's log that shows that it has begun."""

    sign: str
    name: str


PHASES = (
    Phase("", "reading the configuration"),
    Phase("ray init kwargs", "starting Ray"),
    Phase("(TaskRunner", "starting the trainer"),
    Phase("(WorkerDict", "starting the FSDP worker: actor and reference"),
    Phase("(vLLMHttpServer", "starting the vLLM server"),
    Phase("(EngineCore", "loading the model into vLLM"),
    Phase("(AgentLoopWorker", "held-out problems before training"),
)


class Clock:
    """Prints lines with the time since the start, and says what it waits for after a silence."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last = self._start

    @property
    def seconds(self) -> float:
        """Returns the time since the start."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Prints one line."""
        self._last = time.monotonic()
        print(f"{self.seconds:6.0f} s  {text}", flush=True)

    def beat(self, text: str) -> None:
        """Prints a line if none was printed for a while."""
        if time.monotonic() - self._last > HEARTBEAT_SECONDS:
            self.say(f"… {text}")


def follow(run: Run, steps: int, clock: Clock) -> float | None:
    """Shows a run until it ends; returns the seconds from its start to the end of its first training step, if any."""
    began, phase, shown, first_step = clock.seconds, -1, set(), None
    while True:
        ended = run.process.poll() is not None
        for step in _steps_so_far(run.directory / "metrics.jsonl"):
            if step.step not in shown:
                shown.add(step.step)
                phase = len(PHASES)
                clock.say(_line(step, steps))
                if step.step == 1:
                    first_step = clock.seconds - began
        if ended:
            return first_step
        current = _phase(run.log)
        if phase < current:
            phase = current
            clock.say(PHASES[phase].name)
        clock.beat(PHASES[phase].name if not shown else f"step {max(shown) + 1}" if max(shown) < steps else "ending")
        time.sleep(POLL_SECONDS)


def _steps_so_far(path: Path) -> list[Step]:
    try:
        return read_log(path).steps
    except RunLogError:
        # Not there yet, or nothing whole in it.
        return []


def _phase(log: Path) -> int:
    text = log.read_text(errors="replace")
    return max(index for index, phase in enumerate(PHASES) if phase.sign in text)


def _line(step: Step, steps: int) -> str:
    if step.step == 0:
        return "held-out problems: done"
    figures = [f"step {step.step:>2}/{steps}"]
    for name, metrics, form in SHOWN:
        figures += [f"{name} {value:{form}}" for value in series([step], metrics).points.values()]
    return "   ".join(figures)
