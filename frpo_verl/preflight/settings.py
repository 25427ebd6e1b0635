"""Reads the regulariser of a run from verl's own keys and from `algorithm.frpo`."""

import difflib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from frpo_verl.advantage.variant import Variant, formed
from frpo_verl.divergences import Generator, UnknownDivergence, by_name
from frpo_verl.preflight import variants
from frpo_verl.preflight.errors import SettingsError

ESTIMATOR = "frpo"
"""The value of `algorithm.adv_estimator`."""

MODE = "future"
"""The value of `algorithm.kl_mode`."""

_CONTROL = ("type", "kl_coef", "target_kl", "horizon")

OUTCOME_ESTIMATOR = "grpo"
"""verl's estimator behind `frpo`: `frpo` is `grpo` with `kl_mode=future`."""


class Settings(NamedTuple):
    """The regulariser of one run.

    Attributes:
        beta: the coefficient β, in units of the estimator's advantage per nat; the first one if it is adaptive.
        adaptive: whether β follows the measured divergence.
        generator: the divergence to the reference.
        divergence: its name as the user wrote it.
        variant: what differs from the theorem.
    """

    beta: float
    adaptive: bool
    generator: Generator
    divergence: str
    variant: Variant


def asks_for_future(algorithm: Mapping[str, Any] | None) -> bool:
    """Returns True for a run with `algorithm.adv_estimator=frpo` or `algorithm.kl_mode=future`.

    The argument is verl's `algorithm` section (DictConfig or AlgoConfig), or None where a host passes none.
    """
    if algorithm is None:
        return False
    return algorithm.get("adv_estimator") == ESTIMATOR or algorithm.get("kl_mode") == MODE


def needs_reference(algorithm: Mapping[str, Any]) -> bool:
    """Returns True where FRPO needs the reference policy; verl asks before it validates anything."""
    # A missing coefficient is reported by `read`.
    return asks_for_future(algorithm) and (algorithm.get("kl_ctrl") or {}).get("kl_coef") != 0


def read(algorithm: Mapping[str, Any]) -> Settings:
    """Reads β, the divergence and the variant, and refuses what contradicts them.

    Args:
        algorithm: verl's `algorithm` section (DictConfig or AlgoConfig).

    Returns:
        The settings, valid.

    Raises:
        SettingsError: a value that cannot run; the message has the key, the value and the fix.
    """
    _check_mode(algorithm)
    beta, adaptive = _read_control(algorithm.get("kl_ctrl"))
    variant = variants.read(algorithm.get("frpo"), estimator=algorithm.get("adv_estimator"))
    if variant.std == "population" and not algorithm.get("norm_adv_by_std_in_grpo", True):
        raise SettingsError(
            "algorithm.frpo.std=population with norm_adv_by_std_in_grpo=False: nothing is divided by a standard "
            "deviation; set algorithm.frpo.std=sample"
        )
    if variant.baseline == "fitted" and beta == 0:
        raise SettingsError(
            "algorithm.frpo.baseline=fitted with kl_ctrl.kl_coef=0: its columns are sums of log-ratios to the "
            "reference, which is not loaded; set algorithm.frpo.baseline=none"
        )
    name = str(algorithm.get("kl_penalty"))
    try:
        generator = by_name(name)
    except UnknownDivergence as error:
        raise SettingsError(f"algorithm.kl_penalty: {error}") from None
    return Settings(beta, adaptive, formed(generator, variant), name, variant)


def _check_mode(algorithm: Mapping[str, Any]) -> None:
    mode = algorithm.get("kl_mode")
    if mode not in (None, MODE):
        raise SettingsError(
            f"algorithm.kl_mode={mode}: there is one mode, {MODE}; set +algorithm.kl_mode={MODE}, or leave the key out"
        )
    if algorithm.get("use_kl_in_reward", False):
        raise SettingsError(
            "algorithm.use_kl_in_reward=True: with adv_estimator=frpo or kl_mode=future the KL must stay out of the "
            "reward, where it would be counted a second time and the group normalisation would no longer aim at "
            "ℓ(E r) − β·KL (arXiv 2601.10201, Proposition 3.2); set algorithm.use_kl_in_reward=False"
        )


def _read_control(control: Mapping[str, Any] | None) -> tuple[float, bool]:
    if control is None:
        raise SettingsError(
            "algorithm.kl_ctrl=None: frpo reads its coefficient there; set algorithm.kl_ctrl.kl_coef=0.01"
        )
    for key in control:
        if key not in _CONTROL and not str(key).startswith("_"):
            near = difflib.get_close_matches(str(key), _CONTROL, n=1, cutoff=0)[0]
            raise SettingsError(
                f"algorithm.kl_ctrl.{key}: there is no such key; the nearest is algorithm.kl_ctrl.{near} (all: "
                f"{', '.join(_CONTROL)})"
            )
    kind, beta = control.get("type", "fixed"), control.get("kl_coef")
    if not _is_number(beta) or beta < 0:
        raise SettingsError(
            f"algorithm.kl_ctrl.kl_coef={beta}: frpo needs a finite number that is not negative, "
            "for instance 0.01 (0 switches the regulariser off)"
        )
    if kind not in ("fixed", "adaptive"):
        raise SettingsError(f"algorithm.kl_ctrl.type={kind}: set it to fixed or adaptive")
    if kind == "adaptive":
        if beta == 0:
            raise SettingsError(
                "algorithm.kl_ctrl.kl_coef=0 with type=adaptive: the controller multiplies β, and 0 stays 0; set "
                "algorithm.kl_ctrl.kl_coef to a positive start, for instance 0.01"
            )
        for key, meaning in (("target_kl", "nats per token"), ("horizon", "responses")):
            value = control.get(key)
            if not _is_number(value) or value <= 0:
                raise SettingsError(
                    f"algorithm.kl_ctrl.{key}={value} with type=adaptive: set a positive number of {meaning}"
                )
    return float(beta), kind == "adaptive"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
