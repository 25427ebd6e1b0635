"""Names the literature's variants of the divergence-to-go, and composes them in one order."""

import dataclasses

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl.advantage.adjustments import centre_in_group, divide_by_length, minus_length_baseline
from frpo_verl.advantage.future import return_to_go
from frpo_verl.advantage.later import Later, discounted, undiscounted, within
from frpo_verl.advantage.stale import traced_return_to_go
from frpo_verl.advantage.steps import ends_by_length, value_at_step_end, value_at_step_start
from frpo_verl.divergences import Generator, appendix_e, token_clip

OF_THE_WEIGHT = ("fitted", "loo_position")
"""Baselines of the whole weight Â − β·reg, by `frpo_verl.advantage.baseline`."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """The keys of `algorithm.frpo`; the defaults are the theorem.

    Attributes:
        form: `theorem`, or `appendix_e`: f in the whole sum, the token's own part too.
        kl: `rollout`, fixed at the policy that sampled, or `current`, recomputed at every actor mini-batch.
        stale: `none`, or `vtrace`, min(1, ρ) of every token between on what lies ahead; with `kl=current`.
        horizon: only so many later tokens count; null counts all.
        discount: γ of later tokens.
        baseline: `none`; `fitted` or `loo_position`, of the whole weight; or `length`, section 6.2.2's (T − t)·mean(f).
        centring: `none`, or `group`, minus the mean of the group's other rollouts.
        scale: `none`, or `length`, divided by the response's length.
        step_length: tokens of a PRL step; null gives every token its own value.
        step_value: a step's tokens take the value at its `start` or `end` (PRL's).
        std: `sample`, verl's, or `population`, the paper's Algorithm 1.
        token_clip: bound of each token's |δ|, in nats; null clips nothing.
    """

    form: str = "theorem"
    kl: str = "rollout"
    stale: str = "none"
    horizon: int | None = None
    discount: float = 1.0
    baseline: str = "none"
    centring: str = "none"
    scale: str = "none"
    step_length: int | None = None
    step_value: str = "start"
    std: str = "sample"
    token_clip: float | None = None


def formed(generator: Generator, variant: Variant) -> Generator:
    """Puts a divergence into the chosen form.

    Args:
        generator: the divergence by its name.
        variant: `form` and `token_clip` are read.

    Returns:
        The generator that is summed.
    """
    if variant.form == "appendix_e":
        generator = appendix_e(generator)
    return generator if variant.token_clip is None else token_clip(generator, float(variant.token_clip))


def has_baseline(variant: Variant) -> bool:
    """Returns True for a baseline of the whole weight, which comes after everything else."""
    return variant.baseline in OF_THE_WEIGHT


def is_plain(variant: Variant) -> bool:
    """Returns True where nothing shortens, shifts, scales or segments the theorem's sum, so that one pass can do it."""
    untouched = variant.baseline != "length" and (variant.centring, variant.scale) == ("none", "none")
    return untouched and later_of(variant) is undiscounted and variant.step_length is None


def later_of(variant: Variant) -> Later:
    """Returns the sum over later tokens that `horizon` and `discount` ask for."""
    if variant.horizon is not None:
        return within(variant.horizon)
    return undiscounted if variant.discount == 1 else discounted(float(variant.discount))


def divergence_to_go(
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    generator: Generator,
    variant: Variant,
    group: Int[Tensor, " bs"] | None,
    rollout: Int[Tensor, " bs"] | None = None,
    log_importance: Float[Tensor, "bs length"] | None = None,
) -> Float[Tensor, "bs length"]:
    """Computes reg of every token: the sum, then the length baseline, centring, scale and steps in that order.

    Args:
        log_ratio: δ = log π_θ − log π_ref per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        generator: the divergence, in its form (`formed`).
        variant: what is done to its sum.
        group: the group of each response, any integers; only `centring` looks at it.
        rollout: the rollout of each response, where one has several; likewise.
        log_importance: log ρ per token, only `stale` looks at it; None where the policy is the one that sampled.

    Returns:
        reg per token, in nats, detached; 0 in masked slots.

    Raises:
        InvalidInput: a valid token is not finite.
    """
    if variant.stale == "vtrace" and log_importance is not None:
        reg = traced_return_to_go(log_ratio, log_importance, response_mask, generator)
    else:
        reg = return_to_go(log_ratio, response_mask, generator, later_of(variant))
    if variant.baseline == "length":
        reg = minus_length_baseline(reg, log_ratio, response_mask, generator)
    if variant.centring == "group":
        reg = centre_in_group(reg, response_mask, group, rollout)
    if variant.scale == "length":
        reg = divide_by_length(reg, response_mask)
    if variant.step_length is not None:
        of_step = value_at_step_start if variant.step_value == "start" else value_at_step_end
        reg = of_step(reg, response_mask, ends_by_length(response_mask, variant.step_length))
    return reg
