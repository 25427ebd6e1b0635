"""Checks that each role has the size of a micro-batch that verl's workers read."""

import importlib.util
from collections.abc import Iterator
from typing import Any

from frpo_verl.preflight import verls_own

SECTION = "actor_rollout_ref"


def problems(config: Any) -> Iterator[str]:
    """Yields what verl's validation lets pass and its workers end the run for, once they have loaded the models."""
    # verl 0.8 has workers that read the older keys, too.
    if importlib.util.find_spec("verl.workers.fsdp_workers") is not None:
        return
    section = config.actor_rollout_ref
    by_tokens = section.actor.use_dynamic_bsz
    of_rollout, of_ref = (section[role].get("log_prob_use_dynamic_bsz", by_tokens) for role in ("rollout", "ref"))
    if of_rollout != by_tokens:
        yield (
            f"{SECTION}.rollout.log_prob_use_dynamic_bsz={of_rollout} with {SECTION}.actor.use_dynamic_bsz="
            f"{by_tokens}: one worker does both, and ends the run where they differ; set them alike"
        )
    if not by_tokens:
        yield from _older(section, "actor", "ppo_micro_batch_size")
        yield from _older(section, "rollout", "log_prob_micro_batch_size")
    if not of_ref and not has_adapters(section.model) and verls_own.loaded(config).reference:
        yield from _older(section, "ref", "log_prob_micro_batch_size", always=by_tokens)


def _older(section: Any, role: str, key: str, *, always: bool = False) -> Iterator[str]:
    """Yields a size that is set by its older key alone; with `always` also one that nobody asks for where it is not."""
    older = section[role].get(key)
    if section[role].get(f"{key}_per_gpu") is None and (older is not None or always):
        instead = "" if older is None else f", not {key}={older}, a size of all GPUs together"
        yield (
            f"{SECTION}.{role}.{key}_per_gpu=None: verl's workers read this size alone{instead}; set it, or split by "
            f"tokens: {SECTION}.actor.use_dynamic_bsz=True and no log_prob_use_dynamic_bsz"
        )


def has_adapters(model: Any) -> bool:
    """Returns True for LoRA, whose reference is the actor's own worker with the adapters off."""
    ranks = (model.get("lora") or {}).get("rank"), model.get("lora_rank")
    return any(ranks) or model.get("lora_adapter_path") is not None
