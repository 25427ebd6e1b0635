"""Checks the policy loss: its name, and those that measure the policy's distance from the one that sampled."""

from collections.abc import Iterator
from typing import Any

from frpo_verl.losses import LOSSES, region
from frpo_verl.preflight import contract, settings

_OF_REGION = tuple(LOSSES)
_DPPO = ("dppo_tv", "dppo_kl")
_ACTOR = "actor_rollout_ref.actor"
_BYPASS = "algorithm.rollout_correction.bypass_mode"
_LOG_PROBS = "actor_rollout_ref.rollout.calculate_log_probs"
_CLIP_RATIO = 0.2
"""verl's default."""

LEAST_TRUNCATION = 5
"""The smallest C that DPPO's paper trains with (arXiv 2602.04879, Appendix E)."""


def chosen(config: Any) -> str | None:
    """Returns the name of the run's policy loss, or None where the configuration has none."""
    from omegaconf import OmegaConf

    return OmegaConf.select(config, f"{_ACTOR}.policy_loss.loss_mode")


def is_anchored(config: Any) -> bool:
    """Returns True for a run whose loss is meant to measure from the rollout engine's probabilities."""
    return chosen(config) in (*_OF_REGION, *_DPPO)


def anchors_on_engine(config: Any) -> bool:
    """Returns True where the rollout engine's log-probs are taken for those of the policy that sampled."""
    return bool((config.algorithm.get("rollout_correction") or {}).get("bypass_mode", False))


def problems(config: Any) -> Iterator[str]:
    """Yields an unknown name; of a region no width, an anchor that nobody computes, and a verl that differs."""
    yield from _unknown(config)
    if not is_anchored(config):
        return
    if chosen(config) in _OF_REGION:
        yield from contract.misfits()
        yield from _width(config.actor_rollout_ref.actor)
    if anchors_on_engine(config) and not config.actor_rollout_ref.rollout.calculate_log_probs:
        yield (
            f"{_LOG_PROBS}=False with {_BYPASS}=True: the rollout engine's log-probs are to be the anchor of "
            f"loss_mode={chosen(config)}, and nobody computes them; set {_LOG_PROBS}=True"
        )


def warnings(config: Any) -> Iterator[str]:
    """Yields what such a loss measures from, and settings that do something else than one would think."""
    if not is_anchored(config):
        return
    if not anchors_on_engine(config):
        yield _anchor(config)
    actor = config.actor_rollout_ref.actor
    if chosen(config) in _DPPO and _is_number(actor.clip_ratio_c) and actor.clip_ratio_c < LEAST_TRUNCATION:
        yield (
            f"{_ACTOR}.clip_ratio_c={actor.clip_ratio_c} with loss_mode={chosen(config)}: verl cuts every ratio "
            "at this value, and DPPO's paper found that truncation harms (arXiv 2602.04879, section 5.4); set "
            f"{_ACTOR}.clip_ratio_c=10000"
        )
    low, high = region(actor)
    if chosen(config) in _OF_REGION and actor.clip_ratio not in (_CLIP_RATIO, low, high):
        yield (
            f"{_ACTOR}.clip_ratio={actor.clip_ratio} has no effect next to clip_ratio_low={low} and "
            f"clip_ratio_high={high}, which are the region of loss_mode={chosen(config)}; set these two"
        )


def summary(config: Any) -> Iterator[str]:
    """Yields what a loss of ours will do; the configuration has no problems."""
    if chosen(config) not in _OF_REGION:
        return
    low, high = region(config.actor_rollout_ref.actor)
    anchor = "the rollout engine's" if anchors_on_engine(config) else "the trainer's recomputed"
    reach = ", which no probability can reach" if min(low, high) >= 1 else ""
    yield (
        f"loss_mode={chosen(config)} measures from {anchor} probabilities, delta={high:g} where the advantage is "
        f"positive and {low:g} elsewhere ({_ACTOR}.clip_ratio_high, clip_ratio_low){reach}"
    )


def _unknown(config: Any) -> Iterator[str]:
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    if (name := chosen(config)) is not None and name not in {*POLICY_LOSS_REGISTRY, *LOSSES}:
        yield (
            f"{_ACTOR}.policy_loss.loss_mode={name}: there is no such policy loss "
            f"({', '.join(sorted(POLICY_LOSS_REGISTRY))}); correct it, or register yours in the driver, too"
        )


def _anchor(config: Any) -> str:
    without = f"{_BYPASS}=False"
    if not config.actor_rollout_ref.rollout.calculate_log_probs:
        without += f", {_LOG_PROBS}=False"
    said = (
        f"loss_mode={chosen(config)} measures from the policy that sampled as the trainer recomputes it, not from the "
        f"rollout engine's own probabilities as its paper does ({without}), and leaves the mismatch of the two alone; "
    )
    if settings.asks_for_future(config.algorithm):
        return (
            f"{said}set {_BYPASS}=True to anchor on the engine, whose mismatch the future term then sums unless "
            "algorithm.frpo.kl=current"
        )
    return f"{said}set {_BYPASS}=True and {_LOG_PROBS}=True"


def _width(actor: Any) -> Iterator[str]:
    for key, value in zip(("clip_ratio_low", "clip_ratio_high"), region(actor), strict=True):
        named = key if actor.get(key) is not None else "clip_ratio"
        if not _is_number(value) or not value > 0:
            yield (
                f"{_ACTOR}.{named}={value} with loss_mode={actor.policy_loss.loss_mode}: it is the width of the region "
                "around the policy that sampled, and must be a positive number, for instance 0.2"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
