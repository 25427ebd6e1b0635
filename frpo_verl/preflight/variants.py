"""`algorithm.frpo`: what a run may do otherwise than the theorem, as keys of verl's configuration."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from frpo_verl.advantage import (
    centre_in_group,
    discounted,
    divide_by_length,
    ends_by_length,
    minus_length_baseline,
    return_to_go,
    undiscounted,
    value_at_step_end,
    value_at_step_start,
    within,
)
from frpo_verl.advantage.later import Later
from frpo_verl.divergences import Generator, appendix_e, token_clip
from frpo_verl.preflight.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Variant:
    """The keys of `algorithm.frpo`; the defaults are the theorem.

    Attributes:
        form: `theorem`, or `appendix_e`: f in the whole sum, the token's own part too.
        kl: `rollout`, fixed at the policy that sampled, or `current`, recomputed at every actor mini-batch.
        horizon: only so many later tokens count; null counts all.
        discount: γ of later tokens.
        baseline: `none`, or `length`, section 6.2.2's (T − t)·mean(f).
        centring: `none`, or `group`, minus the mean of the group's other responses.
        scale: `none`, or `length`, divided by the response's length.
        step_length: tokens of a PRL step; null gives every token its own value.
        step_value: a step's tokens take the value at its `start` or `end` (PRL's).
        std: `sample`, verl's, or `population`, the paper's Algorithm 1.
        token_clip: bound of each token's |δ|, in nats; null clips nothing.
    """

    form: str = "theorem"
    kl: str = "rollout"
    horizon: int | None = None
    discount: float = 1.0
    baseline: str = "none"
    centring: str = "none"
    scale: str = "none"
    step_length: int | None = None
    step_value: str = "start"
    std: str = "sample"
    token_clip: float | None = None


_CHOICES = {
    "form": ("theorem", "appendix_e"),
    "kl": ("rollout", "current"),
    "baseline": ("none", "length"),
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
"""What gets looked for in the section, and is verl's own key."""

_OF_THE_BATCH = {"baseline": "the mean over the batch", "centring": "the other responses of the group"}
"""Keys that look beyond one response, which a worker's micro-batch does not hold."""


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
    """The keys that the user set.

    Args:
        section: `algorithm.frpo`, or None.

    Returns:
        Key to value; every key exists.

    Raises:
        SettingsError: it is no section, or a key does not exist.
    """
    names = [field.name for field in dataclasses.fields(Variant)]
    if section is None:
        return {}
    if not hasattr(section, "keys"):
        raise SettingsError(f"algorithm.frpo={section}: it is a section; its keys are {', '.join(names)}")
    from omegaconf import OmegaConf

    # A value that is still missing ("???") is one that is wrong, with the key's own sentence.
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
            "algorithm.frpo.baseline=length with a horizon or a discount: it takes off what all later tokens cost on "
            "average, and only some of them are counted; set baseline=none, or horizon=null and discount=1"
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
    if variant.kl == "current":
        for key, beyond in _OF_THE_BATCH.items():
            if getattr(variant, key) != "none":
                raise SettingsError(
                    f"algorithm.frpo.{key}={getattr(variant, key)} with kl=current: it needs {beyond}, and the term "
                    f"is recomputed on a micro-batch; set algorithm.frpo.{key}=none or algorithm.frpo.kl=rollout"
                )


def formed(generator: Generator, variant: Variant) -> Generator:
    """The divergence in the chosen form.

    Args:
        generator: the divergence by its name.
        variant: `form` and `token_clip` are read.

    Returns:
        The generator that is summed.
    """
    if variant.form == "appendix_e":
        generator = appendix_e(generator)
    return generator if variant.token_clip is None else token_clip(generator, float(variant.token_clip))


def is_plain(variant: Variant) -> bool:
    """Whether the theorem's sum runs as it is, so that one pass can do it.

    Args:
        variant: the variant.

    Returns:
        True when nothing shortens, shifts, scales or segments the sum.
    """
    untouched = (variant.baseline, variant.centring, variant.scale) == ("none", "none", "none")
    return untouched and later_of(variant) is undiscounted and variant.step_length is None


def later_of(variant: Variant) -> Later:
    """Which later tokens count, and how much.

    Args:
        variant: `horizon` and `discount` are read.

    Returns:
        The sum over later tokens.
    """
    if variant.horizon is not None:
        return within(variant.horizon)
    return undiscounted if variant.discount == 1 else discounted(float(variant.discount))


def divergence_to_go(
    log_ratio: Tensor, response_mask: Tensor, generator: Generator, variant: Variant, group: Tensor | None
) -> Tensor:
    """reg of every token: the sum, then baseline, centring, scale and steps in that order.

    Args:
        log_ratio: (bs, length), δ = log π_θ − log π_ref, in nats.
        response_mask: (bs, length), nonzero for the tokens that the policy produced.
        generator: the divergence, in its form (`formed`).
        variant: what is done to its sum.
        group: (bs,), integers; only `centring` looks at it.

    Returns:
        (bs, length), in nats, detached; 0 in masked slots.

    Raises:
        InvalidInput: a valid token is not finite.
    """
    reg = return_to_go(log_ratio, response_mask, generator, later_of(variant))
    if variant.baseline == "length":
        reg = minus_length_baseline(reg, log_ratio, response_mask, generator)
    if variant.centring == "group":
        reg = centre_in_group(reg, response_mask, group)
    if variant.scale == "length":
        reg = divide_by_length(reg, response_mask)
    if variant.step_length is not None:
        of_step = value_at_step_start if variant.step_value == "start" else value_at_step_end
        reg = of_step(reg, response_mask, ends_by_length(response_mask, variant.step_length))
    return reg


def groups(names: Any) -> Tensor:
    """verl's prompt ids as integers.

    Args:
        names: (bs,), any hashable names.

    Returns:
        (bs,), int64.
    """
    number: dict[Any, int] = {}
    return torch.tensor([number.setdefault(name, len(number)) for name in names])
