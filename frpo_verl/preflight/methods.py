"""Checks the methods of ours that a run chooses by name: a weight of tokens, a policy loss."""

from collections.abc import Iterator, Mapping
from typing import Any

from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS
from frpo_verl.losses import LOSSES
from frpo_verl.preflight import losses

TOKEN_WEIGHT = "token_weight"
"""The key of verl's `algorithm` section."""


def are_chosen(config: Any) -> bool:
    """Returns True for a run that asks for a token weight, or for a policy loss of ours."""
    return config.algorithm.get(TOKEN_WEIGHT) is not None or losses.chosen(config) in LOSSES


def problems(config: Any) -> Iterator[str]:
    """Yields methods that cannot run."""
    yield from token_weight_problems(config.algorithm)
    if (name := losses.chosen(config)) in LOSSES:
        from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

        yield from taken(name, POLICY_LOSS_REGISTRY)
    yield from losses.problems(config)


def token_weight_problems(algorithm: Mapping[str, Any]) -> Iterator[str]:
    """Yields an unknown token weight, and one that the term of the current policy would come after."""
    name = algorithm.get(TOKEN_WEIGHT)
    if name is None:
        return
    if name not in TOKEN_WEIGHTS:
        known = ", ".join(sorted(TOKEN_WEIGHTS)) or "none is registered"
        yield f"algorithm.{TOKEN_WEIGHT}={name}: there is no such method ({known}); correct it, or leave it out"
    elif (algorithm.get("frpo") or {}).get("kl") == "current":
        yield (
            f"algorithm.{TOKEN_WEIGHT}={name} with algorithm.frpo.kl=current: workers subtract the term after the "
            "weights were applied; set algorithm.frpo.kl=rollout"
        )


def taken(name: str, registry: Mapping[str, Any]) -> Iterator[str]:
    """Yields a loss whose name verl has for another."""
    there = registry.get(name)
    if there is not None and getattr(there, "ours", None) is not LOSSES[name]:
        yield f"verl has a policy loss {name!r} of its own; frpo-verl's needs another name: update frpo-verl"
