"""What the user set, read from verl's own keys."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from frpo_verl.divergences import Generator, UnknownDivergence, by_name
from frpo_verl.verl_plugin.errors import SettingsError

ESTIMATOR = "frpo"
"""The value of `algorithm.adv_estimator`."""


class Settings(NamedTuple):
    """The regulariser of one run.

    Attributes:
        beta: the coefficient β, in normalised reward units per nat.
        generator: the divergence to the reference.
    """

    beta: float
    generator: Generator


def asks_for_frpo(algorithm: Mapping[str, Any]) -> bool:
    """Whether a run uses the estimator.

    Args:
        algorithm: verl's `algorithm` section (DictConfig or AlgoConfig).

    Returns:
        True when `algorithm.adv_estimator=frpo`.
    """
    return algorithm.get("adv_estimator") == ESTIMATOR


def read(algorithm: Mapping[str, Any]) -> Settings:
    """Reads β and the divergence, and refuses what contradicts them.

    Args:
        algorithm: verl's `algorithm` section (DictConfig or AlgoConfig).

    Returns:
        The settings, valid.

    Raises:
        SettingsError: a value that cannot run; the message has the key, the value and the fix.
    """
    if algorithm.get("use_kl_in_reward", False):
        raise SettingsError(
            "algorithm.use_kl_in_reward=True: with adv_estimator=frpo the KL must stay out of the reward, since the "
            "group normalisation would then no longer aim at ℓ(E r) − β·KL (arXiv 2601.10201, Proposition 3.2); set "
            "algorithm.use_kl_in_reward=False"
        )
    control = algorithm.get("kl_ctrl")
    kind, beta = control.get("type", "fixed"), control.get("kl_coef")
    if kind != "fixed":
        raise SettingsError(
            f"algorithm.kl_ctrl.type={kind}: frpo runs with a fixed coefficient; set algorithm.kl_ctrl.type=fixed"
        )
    if not isinstance(beta, int | float) or not math.isfinite(beta) or beta < 0:
        raise SettingsError(
            f"algorithm.kl_ctrl.kl_coef={beta}: frpo needs a finite number that is not negative, "
            "for instance 0.01 (0 switches the regulariser off)"
        )
    try:
        generator = by_name(str(algorithm.get("kl_penalty")))
    except UnknownDivergence as error:
        raise SettingsError(f"algorithm.kl_penalty: {error}") from None
    return Settings(beta=float(beta), generator=generator)
