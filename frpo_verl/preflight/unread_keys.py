"""Finds keys of ours that verl would ignore: misspelt, in the wrong place, or without effect in this run."""

from collections.abc import Iterator, Mapping
from typing import Any

from frpo_verl.advantage.variant import Variant
from frpo_verl.preflight import settings, variants
from frpo_verl.preflight.errors import SettingsError

_MISSPELT = {
    "kl_mode": ("klmode", "kl_mod", "kl_modes", "kl-mode", "kl_Mode", "KL_mode"),
    "token_weight": ("token_weights", "tokenweight", "token-weight"),
    "frpo": ("frp", "fpro", "frop", "FRPO", "Frpo"),
}
"""Common misspellings of our keys; no other estimator has settings of these names."""

_ELSEWHERE = ("algorithm.kl_ctrl", "actor_rollout_ref", "actor_rollout_ref.actor", "trainer")
"""Sections into which our keys get put by mistake, besides the root."""


def problems(config: Any) -> Iterator[str]:
    """Yields keys of ours that verl would ignore."""
    yield from _misplaced(config)
    if not settings.asks_for_future(config.algorithm):
        yield from _without_effect(config.algorithm)


def warnings(algorithm: Mapping[str, Any]) -> Iterator[str]:
    """Yields keys of verl's `algorithm` section that have no effect in a run with FRPO."""
    from verl.trainer.config import AlgoConfig
    from verl.trainer.config.algorithm import KLControlConfig

    for key in vars(Variant()):
        if key in algorithm and key not in AlgoConfig.__dataclass_fields__:
            yield f"algorithm.{key}={algorithm[key]}: this key is ignored here; use +algorithm.frpo.{key}"
    control, defaults = algorithm.get("kl_ctrl") or {}, KLControlConfig()
    if control.get("type", "fixed") == "fixed":
        for key in ("target_kl", "horizon"):
            if control.get(key, defaults[key]) != defaults[key]:
                yield f"algorithm.kl_ctrl.{key}={control[key]} has no effect with type=fixed; set type=adaptive"


def _misplaced(config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    estimator = config.algorithm.get("adv_estimator")
    if estimator in _MISSPELT["frpo"] and estimator not in ADV_ESTIMATOR_REGISTRY:
        yield f"algorithm.adv_estimator={estimator}: there is no such estimator; did you mean frpo?"
    for key, wrong in _MISSPELT.items():
        for name in wrong:
            if name in config.algorithm:
                yield f"algorithm.{name}: there is no such key; did you mean algorithm.{key}?"
        for place in ("", *_ELSEWHERE):
            section = OmegaConf.select(config, place) if place else config
            if section is not None and key in section:
                where = f"{place}.{key}" if place else key
                yield f"{where}: this key is ignored here; use +algorithm.{key}"


def _without_effect(algorithm: Mapping[str, Any]) -> Iterator[str]:
    try:
        if algorithm.get("kl_mode") is not None:
            settings.read(algorithm)
        values = variants.given(algorithm.get("frpo"))
    except SettingsError as error:
        yield str(error)
        return
    changed = [key for key, value in values.items() if value != getattr(Variant(), key)]
    if changed:
        yield (
            f"algorithm.frpo.{changed[0]}={values[changed[0]]} has no effect with adv_estimator="
            f"{algorithm.get('adv_estimator')}; add +algorithm.kl_mode={settings.MODE}, or leave the key out"
        )
