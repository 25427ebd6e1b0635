"""Checks that verl's trainer hands the estimator what it takes: otherwise the first advantage ends the run."""

import inspect
from collections.abc import Iterator
from typing import Any

_ALWAYS = {"token_level_rewards", "response_mask", "config", "index"}
_CALLED_BY_VERL = ("gae", "grpo")
_TOKEN_BASELINES = ("optimal_token_baseline", "tir_optimal_token_baseline")
_SQUARES = "actor_rollout_ref.actor.calculate_sum_pi_squared"


def is_v1(config: Any) -> bool:
    """Returns True for verl's V1 trainer; one-step-off and fully-async, which are V0's, have servers of their own."""
    return bool(config.trainer.get("use_v1")) and "async_training" not in config and config.get("rollout") is None


def problems(config: Any) -> Iterator[str]:
    """Yields an estimator that this trainer cannot call."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    name = config.algorithm.adv_estimator
    if name in _CALLED_BY_VERL or (estimator := ADV_ESTIMATOR_REGISTRY.get(name)) is None:
        return
    lacking = sorted(_taken(estimator) - _handed(name, config))
    if name == "gdpo" and is_v1(config):
        lacking = ["the single rewards of algorithm.gdpo_reward_keys"]
    if lacking == ["sum_pi_squared"] and not is_v1(config):
        yield f"algorithm.adv_estimator={name} with {_SQUARES}=False: it reads these squares; set {_SQUARES}=True"
    elif lacking:
        trainer = "V1 trainer" if is_v1(config) else "trainer"
        fix = "set trainer.use_v1=False, or choose another estimator" if is_v1(config) else "choose another estimator"
        yield (
            f"algorithm.adv_estimator={name}: it takes {', '.join(lacking)}, and verl's {trainer} does not hand that "
            f"to it, so that the first advantage ends the run; {fix}"
        )


def _taken(estimator: Any) -> set[str]:
    of_call = inspect.signature(estimator).parameters.values()
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {each.name for each in of_call if each.default is each.empty and each.kind not in variable}


def _handed(name: str, config: Any) -> set[str]:
    """Returns the parameters that verl's `compute_advantage` fills, of what its trainer has put into the batch."""
    handed = set(_ALWAYS)
    if name in _TOKEN_BASELINES:
        handed.add("old_log_probs")
        if not is_v1(config) and config.actor_rollout_ref.actor.get("calculate_sum_pi_squared"):
            handed.add("sum_pi_squared")
    if name == "remax" and not is_v1(config) and "async_training" not in config:
        handed.add("reward_baselines")
    return handed
