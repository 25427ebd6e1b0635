"""Keeps which tokens the policy sampled where verl's rejection sampling takes some out of the response mask.

A rejected token gets no gradient. It was sampled all the same, so that what it costs belongs to the tokens before it:
the sums of the term, and with them D and an adaptive β, are over the mask from before. verl's other way to drop a
token's gradient, an importance weight of 0, leaves it in the sum, too.
"""

from collections.abc import Callable
from typing import Any

from tensordict import TensorDict
from torch import Tensor

FIELD = "frpo_sampled_mask"
"""The mask's field in a batch, until the term is subtracted."""

COUNTED = "loss_mask"
"""verl's field in workers with the tokens that it divides by: with V1 those from before the rejection."""


def kept(host: Callable, batch: Any, rollout_corr_config: Any) -> tuple[Any, dict[str, Any]]:
    """Runs verl's `compute_rollout_correction_and_add_to_batch`, and leaves the mask from before in the batch."""
    before = batch.batch["response_mask"]
    done, figures = host(batch, rollout_corr_config)
    if rollout_corr_config.get("rollout_rs"):
        done.batch[FIELD] = before
    return done, figures


def mask_of(batch: TensorDict) -> Tensor:
    """Returns (bs, length) of the trainer's batch: nonzero for the tokens that the policy sampled."""
    return batch[FIELD] if FIELD in batch else batch["response_mask"]
