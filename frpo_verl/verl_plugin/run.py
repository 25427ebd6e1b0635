"""Holds the state of the run of this process: its settings, its β, and what waits to be logged or sent to workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frpo_verl.preflight import settings
from frpo_verl.verl_plugin import control
from frpo_verl.verl_plugin.control import Coefficient
from frpo_verl.verl_plugin.memory import Memory
from frpo_verl.verl_plugin.token_file import Traced


class Outbox:
    """Keeps what the last advantages have to say until the trainer's next call takes it: figures, note, single tokens.

    The advantages are computed where verl's metrics are out of reach. Each batch replaces what was not taken.
    """

    def __init__(self) -> None:
        self._figures: dict[str, float] = {}
        self._note: str | None = None
        self._tokens: Traced | None = None

    def put(self, figures: dict[str, float], note: str | None = None) -> None:
        """Replaces the figures and the note by those of a new batch."""
        self._figures, self._note = figures, note

    def put_tokens(self, tokens: Traced | None) -> None:
        """Replaces the responses that are to be written token by token."""
        self._tokens = tokens

    def take_figures(self) -> dict[str, float]:
        """Returns the figures, once; none the next time."""
        figures, self._figures = self._figures, {}
        return figures

    def take_note(self) -> str | None:
        """Returns the note, once; None the next time, and where the workers are told nothing."""
        note, self._note = self._note, None
        return note

    def take_tokens(self) -> Traced | None:
        """Returns the responses to write token by token, once; None the next time, and where the run wants none."""
        tokens, self._tokens = self._tokens, None
        return tokens


class Run:
    """One run with FRPO: `settings`, read and checked once; `beta` of the coming step; a baseline's `memory`."""

    def __init__(self, algorithm: Mapping[str, Any]) -> None:
        self.algorithm = algorithm
        self.settings = settings.read(algorithm)
        self.beta = Coefficient(self.settings, algorithm)
        self.memory = Memory(self.settings)

    def save(self, folder: Path) -> None:
        """Writes what the steps so far have left into verl's `global_step_N`."""
        control.save(folder, self.beta.state | self.memory.state)

    def restore(self, folder: Path) -> None:
        """Takes that from verl's `global_step_N`. Raises CheckpointError where it is missing or damaged."""
        self.beta.restore(folder)
        self.memory.restore(folder)


outbox = Outbox()
"""That of this process; a run with token weights alone has one too."""

_current: Run | None = None

_asked: Any = None


def remember(config: Any) -> None:
    """Keeps verl's whole configuration of this process's run, whichever trainer runs it."""
    global _asked
    _asked = config


def asked() -> Any:
    """Returns the configuration of this process's run, or None where verl has not asked for its models yet."""
    return _asked


def dumps_rollouts() -> bool:
    """Returns True where verl dumps what this process's run samples."""
    return _asked is not None and bool(_asked.get("trainer", {}).get("rollout_data_dir"))


def current() -> Run | None:
    """Returns this process's run, or None where none has regularised yet."""
    return _current


def of(algorithm: Mapping[str, Any]) -> Run:
    """Returns the run with these settings; a new one where the last one had others."""
    if _current is not None and (_current.algorithm is algorithm or _current.algorithm == algorithm):
        return _current
    return start(algorithm)


def start(algorithm: Mapping[str, Any]) -> Run:
    """Returns a new run, and forgets the last one's β. Raises SettingsError where a setting cannot run."""
    global _current
    _current = Run(algorithm)
    return _current


def end() -> None:
    """Forgets the run, and what it did not log."""
    global _current
    _current = None
    outbox.put({})
    outbox.put_tokens(None)
