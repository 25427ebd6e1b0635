"""Checks the methods of ours that a run chooses by name: a weight of tokens, a policy loss."""

from collections.abc import Iterator, Mapping
from typing import Any

from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS
from frpo_verl.losses import LOSSES
from frpo_verl.preflight import contract, losses, native, settings

TOKEN_WEIGHT = "token_weight"
"""The key of verl's `algorithm` section."""

OF_ONE_PROMPT = ("lambda_grpo",)
"""Weights that are known not to depend on the responses to other prompts."""

NOT_BY_TOKEN = {
    "geo_mean": "it averages the advantages of a response, and one token's weight would reach all of them",
    "dro": "its quadratic term is not a multiple of the advantage and would not be weighed",
    "clip_cov": "it picks the tokens that it drops by their advantages, and the weights would change its choice",
    "kl_cov": "it picks the tokens that it penalises by their advantages, and the weights would change its choice",
}
"""verl's losses whose gradient, with w·Â for Â, is not w times the gradient token by token, and why."""


def are_chosen(config: Any) -> bool:
    """Returns True for a run that asks for a token weight, or for a policy loss of ours."""
    return config.algorithm.get(TOKEN_WEIGHT) is not None or losses.chosen(config) in LOSSES


def problems(config: Any) -> Iterator[str]:
    """Yields methods that cannot run."""
    yield from token_weight_problems(config.algorithm)
    if config.algorithm.get(TOKEN_WEIGHT) is not None:
        yield from _of_weight(config)
    if (name := losses.chosen(config)) in LOSSES:
        from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

        yield from taken(name, POLICY_LOSS_REGISTRY)
    yield from losses.problems(config)


def token_weight_problems(algorithm: Mapping[str, Any]) -> Iterator[str]:
    """Yields an unknown token weight, and one that this verl would apply in the wrong order."""
    name = algorithm.get(TOKEN_WEIGHT)
    if name is None:
        return
    if name not in TOKEN_WEIGHTS:
        known = ", ".join(sorted(TOKEN_WEIGHTS)) or "none is registered"
        yield f"algorithm.{TOKEN_WEIGHT}={name}: there is no such method ({known}); correct it, or leave it out"
    elif name not in OF_ONE_PROMPT and _is_fitted(algorithm):
        yield (
            f"algorithm.{TOKEN_WEIGHT}={name} with algorithm.frpo.baseline=fitted: the weights are of the whole batch, "
            "so that the advantages of other prompts, from which a prompt's coefficients come, depend on its own "
            f"responses; set algorithm.frpo.baseline=loo_position, or {TOKEN_WEIGHT}={OF_ONE_PROMPT[0]}"
        )
    elif settings.asks_for_future(algorithm) and native.is_left_to_host(algorithm.get("adv_estimator")):
        yield (
            f"algorithm.{TOKEN_WEIGHT}={name}: this verl subtracts the divergence itself, and the weights would "
            f"multiply it; leave the key out, or install verl {contract.TESTED_VERL[-1]} as it was released"
        )


def _is_fitted(algorithm: Mapping[str, Any]) -> bool:
    section = algorithm.get("frpo")
    return settings.asks_for_future(algorithm) and hasattr(section, "get") and section.get("baseline") == "fitted"


def summary(config: Any) -> Iterator[str]:
    """Yields, line by line, what the methods will do; the configuration has no problems."""
    if (name := config.algorithm.get(TOKEN_WEIGHT)) is not None:
        also = " and the KL term of the loss" if config.actor_rollout_ref.actor.use_kl_loss else ""
        yield f"token_weight={name} multiplies the advantages of the reward{also}, not the divergence taken off them"
    yield from losses.summary(config)


def _of_weight(config: Any) -> Iterator[str]:
    """Yields a verl that differs, and what would make of a weight something else than a factor of its token's loss."""
    from omegaconf import OmegaConf

    yield from contract.misfits()
    key = f"algorithm.{TOKEN_WEIGHT}={config.algorithm[TOKEN_WEIGHT]}"
    if (loss := losses.chosen(config)) in NOT_BY_TOKEN:
        yield (
            f"{key} with actor_rollout_ref.actor.policy_loss.loss_mode={loss}: {NOT_BY_TOKEN[loss]}; choose a loss "
            "that is a multiple of each token's advantage, for instance vanilla"
        )
    if config.actor_rollout_ref.rollout.n == 1:
        yield (
            f"{key} with actor_rollout_ref.rollout.n=1: no other response shares a prefix, so that every weight is 1; "
            "set actor_rollout_ref.rollout.n to 2 or more, or leave the key out"
        )
    of_distillation = "distillation.distillation_loss.use_task_rewards"
    enabled = OmegaConf.select(config, "distillation.enabled", default=False)
    if enabled and not OmegaConf.select(config, of_distillation, default=True):
        yield (
            f"{key} with {of_distillation}=False: verl then leaves the advantages out of the loss; set "
            f"{of_distillation}=True, or leave the key out"
        )


def taken(name: str, registry: Mapping[str, Any]) -> Iterator[str]:
    """Yields a loss whose name verl has for another."""
    there = registry.get(name)
    if there is not None and getattr(there, "ours", None) is not LOSSES[name]:
        yield f"verl has a policy loss {name!r} of its own; frpo-verl's needs another name: update frpo-verl"
