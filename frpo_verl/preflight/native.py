"""Asks the installed verl whether it subtracts the divergence itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from frpo_verl.preflight import settings
from frpo_verl.preflight.environment import PLUGIN

VERL = "verl."


def is_left_to_host(name: str) -> bool:
    """Returns True where this verl subtracts the term itself, so that the plugin must not: it would count twice.

    That is `frpo` where verl has registered a function of its own, and other estimators where verl has `kl_mode`.
    """
    if name == settings.ESTIMATOR:
        from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

        registered = ADV_ESTIMATOR_REGISTRY.get(name)
        return registered is not None and registered.__module__.startswith(VERL)
    from verl.trainer.config import AlgoConfig

    return "kl_mode" in AlgoConfig.__dataclass_fields__


def taken(registry: Mapping[str, Any]) -> Iterator[str]:
    """Yields an estimator of somebody else's that has the name of ours: neither verl's nor FRPO."""
    registered = registry.get(settings.ESTIMATOR)
    if registered is not None and not registered.__module__.startswith((VERL, f"{PLUGIN}.")):
        yield (
            f"adv_estimator={settings.ESTIMATOR}: {registered.__module__} has registered an estimator of that name, "
            "which is frpo-verl's; give it another one"
        )
