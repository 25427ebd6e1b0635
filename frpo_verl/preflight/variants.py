"""Reads `algorithm.frpo`: a run's deviations from the theorem, as keys of verl's configuration."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from frpo_verl.advantage.variant import Variant, has_baseline
from frpo_verl.preflight.errors import SettingsError

_CHOICES = {
    "form": ("theorem", "appendix_e"),
    "kl": ("rollout", "current"),
    "stale": ("none", "vtrace"),
    "baseline": ("none", "length", "fitted", "loo_position"),
    "centring": ("none", "group"),
    "scale": ("none", "length"),
    "step_value": ("start", "end"),
    "std": ("sample", "population"),
}

_OF_THE_CONTROL = {
    "beta": "kl_ctrl.kl_coef",
    "kl_coef": "kl_ctrl.kl_coef",
    "target_kl": "kl_ctrl.target_kl",
    "type": "kl_ctrl.type",
    "kl_penalty": "kl_penalty",
    "divergence": "kl_penalty",
}
"""Keys that users look for in the section, and verl's own key for each."""

_OF_THE_BATCH = {
    ("baseline", "length"): "the mean over the batch",
    ("centring", "group"): "the other responses of the group",
}
"""Values that the sum needs more than one response for, and what a worker's micro-batch therefore lacks."""

_BY_GROUP = (
    *("frpo", "grpo", "grpo_vectorized", "grpo_passk", "rloo", "rloo_vectorized", "opo", "remax"),
    *("optimal_token_baseline", "tir_optimal_token_baseline"),
)
"""Estimators under which no advantage depends on another prompt's responses."""

_WHITENS = "it divides every advantage by the standard deviation of the batch"

_ACROSS_GROUPS = {
    **dict.fromkeys(("gae", "gdpo", "reinforce_plus_plus", "reinforce_plus_plus_baseline"), _WHITENS),
    "gpg": "it multiplies every advantage by the batch's share of rewards that are not 0",
}


def read(section: Any, estimator: str | None = "frpo") -> Variant:
    """Reads `algorithm.frpo` and refuses what it cannot hold.

    Args:
        section: a mapping, or None where the user set nothing.
        estimator: `algorithm.adv_estimator`.

    Returns:
        The variant, valid.

    Raises:
        SettingsError: an unknown key, a wrong value or a contradiction; the message has the key, the value and the fix.
    """
    values = given(section)
    _check_values({**vars(Variant()), **values})
    variant = Variant(**values)
    _check_contradictions(variant, estimator)
    return variant


def given(section: Any) -> dict[str, Any]:
    """Returns the keys of `algorithm.frpo` that the user set, with their values; refuses one that does not exist."""
    names = [field.name for field in dataclasses.fields(Variant)]
    if section is None:
        return {}
    if not hasattr(section, "keys"):
        raise SettingsError(f"algorithm.frpo={section}: it must be a section with keys of {', '.join(names)}")
    from omegaconf import OmegaConf

    # A value that is still missing ("???") is refused by its key's own sentence.
    values = OmegaConf.to_container(section) if OmegaConf.is_config(section) else dict(section)
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1, cutoff=0)
            meant = _OF_THE_CONTROL.get(str(key), f"frpo.{near[0]}")
            raise SettingsError(
                f"algorithm.frpo.{key}: there is no such key; the nearest is algorithm.{meant} "
                f"(all: {', '.join(names)})"
            )
    return values


def _check_values(values: Mapping[str, Any]) -> None:
    for key, choices in _CHOICES.items():
        if values[key] not in choices:
            raise SettingsError(f"algorithm.frpo.{key}={values[key]}: set it to {' or '.join(choices)}")
    _check_number("horizon", values["horizon"], int, 0, math.inf, "a number of tokens, 0 or more, or null")
    _check_number("step_length", values["step_length"], int, 1, math.inf, "a number of tokens, 1 or more, or null")
    _check_number("discount", values["discount"], int | float, 0, 1, "a number from 0 to 1; 1 is the true gradient")
    _check_number("token_clip", values["token_clip"], int | float, 1e-6, math.inf, "a positive number of nats, or null")


def _check_number(key: str, value: Any, kind: Any, low: float, high: float, what: str) -> None:
    if value is None and key != "discount":
        return
    fits = isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high and math.isfinite(value)
    if not fits:
        raise SettingsError(f"algorithm.frpo.{key}={value}: set {what}")


def _check_contradictions(variant: Variant, estimator: str | None) -> None:
    if variant.horizon is not None and variant.discount != 1:
        raise SettingsError(
            f"algorithm.frpo.horizon={variant.horizon} and discount={variant.discount}: two ways to shorten the sum; "
            "set horizon=null or discount=1"
        )
    if variant.baseline == "length" and (variant.horizon is not None or variant.discount != 1):
        raise SettingsError(
            "algorithm.frpo.baseline=length with a horizon or a discount: it subtracts what all later tokens cost on "
            "average, and only some of them count; set baseline=none, or horizon=null and discount=1"
        )
    if variant.step_value != "start" and variant.step_length is None:
        raise SettingsError(
            f"algorithm.frpo.step_value={variant.step_value} without step_length: there are no steps; set "
            "algorithm.frpo.step_length, or leave step_value out"
        )
    if variant.std == "population" and estimator not in ("frpo", "grpo"):
        raise SettingsError(
            f"algorithm.frpo.std=population with adv_estimator={estimator}: it is the group's standard deviation of "
            "frpo and grpo; set algorithm.frpo.std=sample"
        )
    if variant.stale == "vtrace":
        _check_stale(variant)
    if variant.kl == "current":
        for (key, value), beyond in _OF_THE_BATCH.items():
            if getattr(variant, key) == value:
                raise SettingsError(
                    f"algorithm.frpo.{key}={value} with kl=current: it needs {beyond}, and the term "
                    f"is recomputed on a micro-batch; set algorithm.frpo.{key}=none or algorithm.frpo.kl=rollout"
                )
    if has_baseline(variant):
        _check_baseline(variant, estimator)


def _check_baseline(variant: Variant, estimator: str | None) -> None:
    """Refuses what would put the own response into a baseline of the whole weight."""
    key = f"algorithm.frpo.baseline={variant.baseline}"
    if variant.centring == "group":
        raise SettingsError(
            f"{key} with centring=group: the others' centred terms contain the response's own, so their mean is not a "
            "baseline; set algorithm.frpo.centring=none"
        )
    if variant.baseline == "fitted" and estimator not in _BY_GROUP:
        why = _ACROSS_GROUPS.get(str(estimator), "nothing is known here of whether its advantages do")
        raise SettingsError(
            f"{key} with adv_estimator={estimator}: the coefficients of a prompt come from the advantages of others, "
            f"which must not depend on its own responses, and {why}; set algorithm.frpo.baseline=loo_position, or "
            f"choose one of {', '.join(_BY_GROUP)}"
        )


def _check_stale(variant: Variant) -> None:
    if variant.kl != "current":
        raise SettingsError(
            f"algorithm.frpo.stale={variant.stale} with kl={variant.kl}: the term is computed before the first update, "
            "where every importance ratio is 1; set algorithm.frpo.kl=current, or stale=none"
        )
    if variant.horizon is not None or variant.discount != 1:
        raise SettingsError(
            f"algorithm.frpo.stale={variant.stale} with a horizon or a discount: its weights already shorten the sum; "
            "set stale=none, or horizon=null and discount=1"
        )
