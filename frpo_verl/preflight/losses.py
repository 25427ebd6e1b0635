"""Checks the policy losses that measure the policy's distance from the one that sampled: ours, and verl's DPPO."""

from collections.abc import Iterator
from typing import Any

from frpo_verl.losses import region
from frpo_verl.preflight import contract, settings

_OF_REGION = ("drpo", "drpo_outside", "spo")
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


def problems(config: Any) -> Iterator[str]:
    """Yields a region without a width, log-probs that the anchor needs and nobody computes, and a verl that differs."""
    if not is_anchored(config):
        return
    if chosen(config) in _OF_REGION:
        yield from contract.misfits()
        yield from _width(config.actor_rollout_ref.actor)
    if _anchors_on_engine(config) and not config.actor_rollout_ref.rollout.calculate_log_probs:
        yield (
            f"{_LOG_PROBS}=False with {_BYPASS}=True: the rollout engine's log-probs are to be the anchor of "
            f"loss_mode={chosen(config)}, and nobody computes them; set {_LOG_PROBS}=True"
        )


def warnings(config: Any) -> Iterator[str]:
    """Yields what such a loss measures from, and settings that do something else than one would think."""
    if not is_anchored(config):
        return
    if not _anchors_on_engine(config):
        yield _anchor(config)
    actor = config.actor_rollout_ref.actor
    if chosen(config) in _DPPO and _is_number(actor.clip_ratio_c) and actor.clip_ratio_c < LEAST_TRUNCATION:
        yield (
            f"{_ACTOR}.clip_ratio_c={actor.clip_ratio_c} with loss_mode={chosen(config)}: verl cuts every ratio "
            "there, which DPPO's paper leaves alone, having found that it harms (arXiv 2602.04879, section 5.4); set "
            f"{_ACTOR}.clip_ratio_c=10000"
        )
    low, high = region(actor)
    if chosen(config) in _OF_REGION and actor.clip_ratio not in (_CLIP_RATIO, low, high):
        yield (
            f"{_ACTOR}.clip_ratio={actor.clip_ratio} has no effect next to clip_ratio_low={low} and "
            f"clip_ratio_high={high}, which are the region of loss_mode={chosen(config)}; set these two"
        )


def _anchors_on_engine(config: Any) -> bool:
    return bool((config.algorithm.get("rollout_correction") or {}).get("bypass_mode", False))


def _anchor(config: Any) -> str:
    without = f"{_BYPASS}=False"
    if not config.actor_rollout_ref.rollout.calculate_log_probs:
        without += f", {_LOG_PROBS}=False"
    said = (
        f"loss_mode={chosen(config)} measures from the policy that sampled as the trainer recomputes it, not from the "
        f"rollout engine's own probabilities as its paper does ({without}), and leaves the mismatch of the two alone; "
    )
    if settings.asks_for_future(config.algorithm):
        return f"{said}set {_BYPASS}=True to anchor on the engine, whose mismatch the future term then sums, too"
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
