"""Registers the losses of `frpo_verl.losses` with verl, for `actor_rollout_ref.actor.policy_loss.loss_mode=NAME`.

A loss is a pure function of tensors that returns one number per token. verl's own `agg_loss` reduces it, so that every
`loss_agg_mode` works as it does for verl's losses.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

from frpo_verl.losses import LOSSES, PerToken
from frpo_verl.preflight import methods
from frpo_verl.preflight.errors import HostError


def register(core_algos: ModuleType) -> None:
    """Registers every loss with verl. Raises HostError where verl has a loss of that name, which would be lost."""
    for name, loss in LOSSES.items():
        for problem in methods.taken(name, core_algos.POLICY_LOSS_REGISTRY):
            raise HostError(problem)
        core_algos.register_policy_loss(name)(reduced_by_verl(loss, core_algos.agg_loss))


def reduced_by_verl(loss: PerToken, agg_loss: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """Returns a loss under verl's convention: a scalar and figures, of which there are none."""

    def policy_loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        per_token = loss(old_log_prob, log_prob, advantages, response_mask, config)
        if rollout_is_weights is not None:
            per_token = per_token * rollout_is_weights
        reduced = agg_loss(
            loss_mat=per_token, loss_mask=response_mask, loss_agg_mode=loss_agg_mode, **config.global_batch_info
        )
        return reduced, {}

    policy_loss.per_token = loss
    return policy_loss
