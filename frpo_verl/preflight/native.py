"""Asks the installed verl whether it subtracts the divergence itself."""

from frpo_verl.preflight import settings
from frpo_verl.preflight.environment import PLUGIN


def is_left_to_host(name: str) -> bool:
    """Returns True where this verl subtracts the term itself, so that the plugin must not: it would count twice.

    That is `frpo` where another function than ours is registered, and other estimators where verl has `kl_mode`.
    """
    if name == settings.ESTIMATOR:
        from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

        registered = ADV_ESTIMATOR_REGISTRY.get(name)
        return registered is not None and not registered.__module__.startswith(f"{PLUGIN}.")
    from verl.trainer.config import AlgoConfig

    return "kl_mode" in AlgoConfig.__dataclass_fields__
