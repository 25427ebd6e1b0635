"""FRPO on verl's batches: `frpo` is verl's own `grpo`, then the future term."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import return_to_go
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

    Released verl passes no batch; there the plugin calls `add_future_term` behind `compute_advantage` instead.

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

    outcome, _ = compute_grpo_outcome_advantage(
        token_level_rewards=token_level_rewards,
        response_mask=response_mask,
        index=index,
        norm_adv_by_std_in_grpo=config.get("norm_adv_by_std_in_grpo", True),
    )
    return _regularised(outcome, batch if batch is not None else {}, response_mask, config), outcome


def add_future_term(data: Any, config: Mapping[str, Any]) -> Any:
    """Turns the grpo advantages of a batch into FRPO's, in place.

    Args:
        data: a DataProto whose batch holds `advantages` (from grpo), `response_mask`, and, unless β is 0,
            `old_log_probs` and `ref_log_prob`, each (bs, response_length).
        config: verl's `algorithm` section.

    Returns:
        The same DataProto.

    Raises:
        BatchError: β is not 0 and the log-probs are missing or not finite.
    """
    batch = data.batch
    batch["advantages"] = _regularised(batch["advantages"], batch, batch["response_mask"], config)
    return data


def _regularised(outcome: Tensor, batch: Any, response_mask: Tensor, config: Mapping[str, Any]) -> Tensor:
    contract.refuse_if_changed()
    chosen = settings.read(config)
    if chosen.beta == 0:
        metrics.publish({"frpo/beta": 0.0})
        return outcome
    mask = response_mask.bool()
    log_ratio = _log_ratio(batch, mask)
    future_term = return_to_go(log_ratio, mask, chosen.generator)
    metrics.publish(metrics.of_step(log_ratio, future_term, mask, chosen))
    return outcome - chosen.beta * future_term


def _log_ratio(batch: Any, mask: Tensor) -> Tensor:
    for key, fix in (
        ("old_log_probs", "let verl recompute them"),
        ("ref_log_prob", "check that every process has loaded frpo-verl, so that verl loads the reference policy"),
    ):
        if key not in batch:
            raise BatchError(f"frpo needs {key!r} in the batch, which holds {sorted(batch.keys())}: {fix}")
    log_ratio = batch["old_log_probs"] - batch["ref_log_prob"]
    bad = (mask & ~torch.isfinite(log_ratio)).nonzero()
    if len(bad):
        row, token = bad[0].tolist()
        raise BatchError(
            f"{len(bad)} of {int(mask.sum())} response tokens have a log-ratio to the reference that is not finite, "
            f"the first in row {row} at token {token} (old_log_probs {batch['old_log_probs'][row, token]:g}, "
            f"ref_log_prob {batch['ref_log_prob'][row, token]:g}): the policy has diverged or the two models differ "
            "in vocabulary; lower the learning rate or check the reference's path"
        )
    return log_ratio
