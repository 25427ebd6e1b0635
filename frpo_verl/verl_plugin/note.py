"""Writes the note that goes with a batch from the trainer's process to the actor workers.

Nothing else of the configuration reaches a worker, and nothing is done there to a batch without a note.
"""

import functools
import json
from typing import Any, NamedTuple

from frpo_verl.advantage.variant import Variant, formed
from frpo_verl.divergences import Generator, by_name
from frpo_verl.preflight.errors import HostError
from frpo_verl.preflight.settings import Settings

KEY = "frpo_verl"
"""The note's key among a batch's non-tensor data."""

SUBTRACTED = "frpo/subtracted/token_mean"
"""The figure by which a worker acknowledges that it subtracted the term; verl prefixes it with `actor/`."""


class Note(NamedTuple):
    """The content of a note.

    Attributes:
        beta: β of this step, or None where the trainer has already subtracted the term.
        generator: the divergence, in its form.
        variant: what is done to its sum.
    """

    beta: float | None
    generator: Generator
    variant: Variant


def write(chosen: Settings, beta: float | None) -> str:
    """Returns the note of a batch as JSON, since verl's transports carry plain data."""
    return json.dumps({"beta": beta, "divergence": chosen.divergence, "variant": vars(chosen.variant)})


@functools.lru_cache(maxsize=8)
def read(text: str) -> Note:
    """Returns the content of what `write` wrote."""
    said = json.loads(text)
    variant = Variant(**said["variant"])
    return Note(said["beta"], formed(by_name(said["divergence"]), variant), variant)


def require_acknowledgement(text: str | None, figures: dict[str, Any]) -> None:
    """Ends a run whose workers were to subtract the term and did not: it would continue without regularisation."""
    if text is not None and read(text).beta is not None and f"actor/{SUBTRACTED}" not in figures:
        raise HostError(
            "algorithm.frpo.kl=current: the actor's workers did not subtract the divergence, so frpo-verl is not "
            "loaded in them or another loss runs there; install it on every node, set VERL_USE_EXTERNAL_MODULES="
            "frpo_verl.verl_plugin in their environment, or set algorithm.frpo.kl=rollout"
        )
