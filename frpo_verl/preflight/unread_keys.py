"""Keys that nobody would read: misspelt, in another place, or without effect in this run."""

from collections.abc import Iterator, Mapping
from typing import Any

from frpo_verl.advantage.variant import Variant
from frpo_verl.preflight import settings, variants
from frpo_verl.preflight.errors import SettingsError

_MISSPELT = {
    "kl_mode": ("klmode", "kl_mod", "kl_modes", "kl-mode", "kl_Mode", "KL_mode"),
    "frpo": ("frp", "fpro", "frop", "FRPO", "Frpo"),
}
"""Our keys, and how they get misspelt: names that no other estimator's settings have."""

_ELSEWHERE = ("algorithm.kl_ctrl", "actor_rollout_ref", "actor_rollout_ref.actor", "trainer")
"""Where our keys get put by mistake, beside the root."""


def problems(config: Any) -> Iterator[SettingsError]:
    """Keys of ours that verl would ignore.

    Args:
        config: verl's whole configuration.

    Yields:
        One sentence each: what, the value, the fix.
    """
    yield from _misplaced(config)
    if not settings.asks_for_future(config.algorithm):
        yield from _without_effect(config.algorithm)


def warnings(algorithm: Mapping[str, Any]) -> Iterator[str]:
    """Keys that stand where they do nothing, in a run with the future divergence.

    Args:
        algorithm: verl's section.

    Yields:
        One sentence each.
    """
    from verl.trainer.config import AlgoConfig
    from verl.trainer.config.algorithm import KLControlConfig

    for key in vars(Variant()):
        if key in algorithm and key not in AlgoConfig.__dataclass_fields__:
            yield f"algorithm.{key}={algorithm[key]}: frpo-verl does not read it there; write +algorithm.frpo.{key}"
    control, defaults = algorithm.get("kl_ctrl") or {}, KLControlConfig()
    if control.get("type", "fixed") == "fixed":
        for key in ("target_kl", "horizon"):
            if control.get(key, defaults[key]) != defaults[key]:
                yield f"algorithm.kl_ctrl.{key}={control[key]} has no effect with type=fixed; set type=adaptive"


def _misplaced(config: Any) -> Iterator[SettingsError]:
    from omegaconf import OmegaConf
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    estimator = config.algorithm.get("adv_estimator")
    if estimator in _MISSPELT["frpo"] and estimator not in ADV_ESTIMATOR_REGISTRY:
        yield SettingsError(f"algorithm.adv_estimator={estimator}: there is no such estimator; did you mean frpo?")
    for key, wrong in _MISSPELT.items():
        for name in wrong:
            if name in config.algorithm:
                yield SettingsError(f"algorithm.{name}: there is no such key; did you mean algorithm.{key}?")
        for place in ("", *_ELSEWHERE):
            section = OmegaConf.select(config, place) if place else config
            if section is not None and key in section:
                where = f"{place}.{key}" if place else key
                yield SettingsError(f"{where}: nobody reads it there; write +algorithm.{key}")


def _without_effect(algorithm: Mapping[str, Any]) -> Iterator[SettingsError]:
    try:
        if algorithm.get("kl_mode") is not None:
            settings.read(algorithm)
        values = variants.given(algorithm.get("frpo"))
    except SettingsError as error:
        yield error
        return
    changed = [key for key, value in values.items() if value != getattr(Variant(), key)]
    if changed:
        yield SettingsError(
            f"algorithm.frpo.{changed[0]}={values[changed[0]]} has no effect with adv_estimator="
            f"{algorithm.get('adv_estimator')}; add +algorithm.kl_mode={settings.MODE}, or leave the key out"
        )
