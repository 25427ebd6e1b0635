"""FRPO on verl's batches: the outcome advantage is verl's own `grpo`, and the future divergence is subtracted."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import regularise_batch
from frpo_verl.checks import NonFiniteToken
from frpo_verl.verl_plugin import contract, metrics, settings
from frpo_verl.verl_plugin.errors import BatchError


def compute_frpo_advantage(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: np.ndarray,
    config: Mapping[str, Any],
    batch: TensorDict | None = None,
    non_tensor_batch: dict | None = None,
    reward_baselines: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The estimator under verl's keyword convention, for hosts that pass `batch` to estimators.

        Â^FRPO_{i,t} = Â^GRPO_i − β · reg_{i,t}                     (arXiv 2601.10201, eq. 5.1)

    Released verl passes no batch; there the plugin runs `compute_as_grpo_plus_future` instead.

    Args:
        token_level_rewards: (bs, response_length).
        response_mask: (bs, response_length), nonzero for the tokens that the policy produced.
        index: (bs,), the prompt (group) of each response.
        config: verl's `algorithm` section.
        batch: holds `old_log_probs` and `ref_log_prob`, each (bs, response_length).
        non_tensor_batch: accepted because hosts pass it; not used.
        reward_baselines: accepted because hosts pass it; not used.

    Returns:
        The FRPO advantages and, as returns, the outcome advantages without the divergence.

    Raises:
        BatchError: β is not 0 and the log-probs are missing or not finite.
    """
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    def grpo(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        norm = config.get("norm_adv_by_std_in_grpo", True)
        return compute_grpo_outcome_advantage(
            token_level_rewards=rewards, response_mask=mask, index=index, norm_adv_by_std_in_grpo=norm
        )

    chosen = _settings(config)
    if chosen.beta == 0:
        return grpo(token_level_rewards, response_mask)
    lengths = response_mask.sum(-1)
    outcome, _ = grpo(*_one_column(token_level_rewards, lengths))
    return _regularised(outcome[:, 0], batch if batch is not None else {}, response_mask, lengths, chosen)


def compute_as_grpo_plus_future(host: Callable, call: inspect.BoundArguments) -> Any:
    """Runs one of verl's `compute_advantage` functions for frpo.

    verl computes the outcome advantage under the name `grpo`, which also groups rollouts with several outputs as grpo
    does, on one column: the sum of a response's rewards. So grouping and normalisation are verl's to the bit, and
    nothing of the batch's size is computed that is not needed.

    Args:
        host: `compute_advantage` or `compute_advantage_for_multi_trajectories`.
        call: its arguments. `data` is a DataProto whose batch holds `token_level_rewards`, `response_mask`, and, unless
            β is 0, `old_log_probs` and `ref_log_prob`, each (bs, response_length); `config` is verl's `algorithm`
            section.

    Returns:
        The same DataProto, with `advantages`, and as `returns` the outcome advantages without the divergence.

    Raises:
        BatchError: β is not 0 and the log-probs are missing or not finite.
    """
    data, config = call.arguments["data"], call.arguments["config"]
    call.arguments["adv_estimator"] = "grpo"
    chosen = _settings(config)
    if chosen.beta == 0:
        return host(*call.args, **call.kwargs)
    if "response_mask" not in data.batch:
        from verl.trainer.ppo.ray_trainer import compute_response_mask

        data.batch["response_mask"] = compute_response_mask(data)
    mask = data.batch["response_mask"]
    lengths = mask.sum(-1)
    rewards, any_valid = _one_column(data.batch["token_level_rewards"], lengths)
    column = TensorDict({"token_level_rewards": rewards, "response_mask": any_valid}, batch_size=len(mask))
    call.arguments["data"] = type(data)(batch=column, non_tensor_batch={"uid": data.non_tensor_batch["uid"]})
    outcome = host(*call.args, **call.kwargs).batch["advantages"][:, 0]
    data.batch["advantages"], data.batch["returns"] = _regularised(outcome, data.batch, mask, lengths, chosen)
    return data


def _settings(config: Mapping[str, Any]) -> settings.Settings:
    contract.refuse_if_changed()
    chosen = settings.read(config)
    if chosen.beta == 0:
        metrics.publish({"frpo/beta": 0.0})
    return chosen


def _one_column(token_level_rewards: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    rewards = token_level_rewards.sum(-1, keepdim=True)
    if not torch.isfinite(rewards).all():
        row = int((~torch.isfinite(rewards)).nonzero()[0, 0])
        raise BatchError(f"the reward of row {row} is {rewards[row, 0]:g}: look at the reward function")
    return rewards, (lengths > 0).long()[:, None]


def _regularised(
    outcome: Tensor, batch: Any, response_mask: Tensor, lengths: Tensor, chosen: settings.Settings
) -> tuple[Tensor, Tensor]:
    for key, fix in (
        ("old_log_probs", "let verl recompute them"),
        ("ref_log_prob", "check that every process has loaded frpo-verl, so that verl loads the reference policy"),
    ):
        if key not in batch:
            raise BatchError(f"frpo needs {key!r} in the batch, which holds {sorted(batch.keys())}: {fix}")
    old, reference = batch["old_log_probs"], batch["ref_log_prob"]
    try:
        done = regularise_batch(outcome, old, reference, response_mask, chosen.beta, chosen.generator)
    except NonFiniteToken as error:
        row, token = error.sample, error.token
        raise BatchError(
            f"{error.count} of {int(lengths.sum())} response tokens have a log-ratio to the reference that is "
            f"not finite, the first in row {row} at token {token} (old_log_probs {old[row, token]:g}, ref_log_prob "
            f"{reference[row, token]:g}): the policy has diverged or the two models differ in vocabulary; lower the "
            "learning rate or check the reference's path"
        ) from None
    metrics.publish(metrics.of_step(done.sums, lengths, chosen.beta))
    return done.advantages, done.outcomes
