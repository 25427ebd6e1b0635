"""Writes the note that goes with a batch from the trainer's process to the actor workers.

Nothing else of the configuration reaches a worker, and nothing is done there to a batch without a note. It is the
receipt of what was done to the advantages, too, without which a run that asks for it ends.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from frpo_verl.advantage.variant import Variant, formed
from frpo_verl.divergences import Generator, by_name
from frpo_verl.preflight import native, settings
from frpo_verl.preflight.errors import HostError
from frpo_verl.preflight.methods import TOKEN_WEIGHT
from frpo_verl.preflight.settings import Settings

KEY = "frpo_verl"
"""The note's key among a batch's non-tensor data."""

SUBTRACTED = "frpo/subtracted/token_mean"
"""The figure by which a worker acknowledges that it subtracted the term; verl prefixes it with `actor/`."""


class Note(NamedTuple):
    """The content of a note.

    Attributes:
        beta: β of this step, or None where nothing is left to the workers.
        generator: the divergence that is subtracted, in its form, or None.
        variant: what is done to its sum.
        token_weight: the weights' name, or None.
    """

    beta: float | None
    generator: Generator | None
    variant: Variant
    token_weight: str | None


def write(chosen: Settings | None, beta: float | None = None, token_weight: str | None = None) -> str:
    """Returns the note of a batch as JSON, since verl's transports carry plain data."""
    of_term = {} if chosen is None else {"divergence": chosen.divergence, "variant": vars(chosen.variant)}
    return json.dumps({"beta": beta, "token_weight": token_weight, **of_term})


@functools.lru_cache(maxsize=8)
def read(text: str) -> Note:
    """Returns the content of what `write` wrote."""
    said = json.loads(text)
    variant, name = Variant(**said.get("variant", {})), said.get("divergence")
    return Note(said["beta"], None if name is None else formed(by_name(name), variant), variant, said["token_weight"])


def require(text: str | None, algorithm: Mapping[str, Any]) -> None:
    """Ends a run that is about to learn from advantages to which something was not done that it asks for."""
    done = Note(None, None, Variant(), None) if text is None else read(text)
    estimator, control = algorithm.get("adv_estimator"), algorithm.get("kl_ctrl") or {}
    asks = settings.needs_reference(algorithm) and not native.is_left_to_host(estimator)
    if asks and done.generator is None:
        raise HostError(
            f"adv_estimator={estimator}, kl_mode={algorithm.get('kl_mode')}, kl_coef={control.get('kl_coef')}: no "
            f"divergence was subtracted from the advantages of this update, since {_ELSEWHERE}, or set "
            "algorithm.kl_ctrl.kl_coef=0"
        )
    if (name := algorithm.get(TOKEN_WEIGHT)) is not None and done.token_weight != name:
        raise HostError(
            f"algorithm.{TOKEN_WEIGHT}={name}: the advantages of this update were not multiplied, since {_ELSEWHERE}, "
            "or leave the key out"
        )


_ELSEWHERE = (
    "the trainer computes them without verl's compute_advantage; let it call that, with config=config.algorithm, for "
    "each batch that it updates the actor with"
)


def require_acknowledgement(text: str | None, figures: dict[str, Any]) -> None:
    """Ends a run whose workers were to subtract the term and did not: it would continue without regularisation."""
    if text is not None and read(text).beta is not None and not {SUBTRACTED, f"actor/{SUBTRACTED}"} & set(figures):
        raise HostError(
            "algorithm.frpo.kl=current: the actor's workers did not subtract the divergence, so frpo-verl is not "
            "loaded in them or another loss runs there; install it on every node, set VERL_USE_EXTERNAL_MODULES="
            "frpo_verl.verl_plugin in their environment, or set algorithm.frpo.kl=rollout"
        )
