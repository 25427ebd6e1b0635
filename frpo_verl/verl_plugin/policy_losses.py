"""Registers the losses of `frpo_verl.losses` with verl, for `actor_rollout_ref.actor.policy_loss.loss_mode=NAME`.

A loss is a pure function of tensors that returns one number per token. verl's own `agg_loss` reduces it, so that every
`loss_agg_mode` works as it does for verl's losses. Masked slots may hold anything: they are emptied before.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from frpo_verl.losses import LOSSES, PolicyLoss
from frpo_verl.losses.figures import Figures
from frpo_verl.masking import zero_where_masked
from frpo_verl.preflight import methods
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin.patching import wrap
from frpo_verl.verl_plugin.reduction import largest, token_mean


def register(core_algos: ModuleType) -> None:
    """Registers every loss with verl. Raises HostError where verl has a loss of that name, which would be lost."""
    for name, loss in LOSSES.items():
        for problem in methods.taken(name, core_algos.POLICY_LOSS_REGISTRY):
            raise HostError(problem)
        core_algos.register_policy_loss(name)(reduced_by_verl(loss, core_algos.agg_loss))


def reduced_by_verl(loss: PolicyLoss, agg_loss: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """Returns a loss under verl's convention: a scalar, and its figures as verl's metrics."""

    def policy_loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        valid = response_mask.bool()
        given = [zero_where_masked(tensor, valid) for tensor in (old_log_prob, log_prob, advantages)]
        per_token = loss.per_token(*given, response_mask, config)
        if rollout_is_weights is not None:
            per_token = per_token * zero_where_masked(rollout_is_weights, valid)
        reduced = agg_loss(
            loss_mat=per_token, loss_mask=response_mask, loss_agg_mode=loss_agg_mode, **config.global_batch_info
        )
        with torch.no_grad():
            figures = loss.figures(*given, response_mask, config)
        return reduced, _metrics(figures, valid, config.global_batch_info)

    policy_loss.ours = loss
    return policy_loss


def _metrics(figures: Figures, valid: Tensor, counted: Mapping[str, Any]) -> dict[str, Any]:
    tokens, ranks = counted.get("batch_num_tokens"), counted.get("dp_size", 1)
    means = {name: token_mean(values, valid, tokens, ranks) for name, values in figures.means.items()}
    most = {name: largest(values, valid) for name, values in figures.largest.items()}
    # verl's distillation cuts off this prefix unseen.
    return {f"actor/{name}": metric for name, metric in {**means, **most}.items()}


def keep_metrics(metric: ModuleType) -> None:
    """Lets a policy loss say how its figures are put together: verl would make a mean of micro-batches of all."""
    wrap(metric.Metric, "from_dict", metrics_as_they_are)


def metrics_as_they_are(host: Callable, data: Mapping[str, Any], aggregation: Any) -> dict[str, Any]:
    """Runs verl's `Metric.from_dict` on plain numbers; what is a Metric already stays as it is."""
    from verl.utils.metric import Metric

    ready = {name: value for name, value in data.items() if isinstance(value, Metric)}
    plain = {name: value for name, value in data.items() if name not in ready}
    return {**host(plain, aggregation), **ready}
