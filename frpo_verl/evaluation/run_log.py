"""Has what every reader of a run's files shares."""

from typing import NamedTuple


class RunLogError(ValueError):
    """A run's file is missing, empty, or not what verl writes; the message is one sentence for the user."""


class Step(NamedTuple):
    """One training step as verl logged it; step 0 is the validation before training."""

    step: int
    metrics: dict[str, float]  # not finite where verl logged such a number
