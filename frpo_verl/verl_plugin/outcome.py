"""Computes the outcome advantage of each response: verl's grpo on one number, the sum of the response's rewards."""

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import normalise_by_group_population, number_groups
from frpo_verl.advantage.groups import EPSILON
from frpo_verl.preflight.errors import BatchError


def column(data: Any) -> Any:
    """Returns verl's DataProto with one column in place of a response's tokens: the sum of its rewards."""
    rewards = data.batch["token_level_rewards"].sum(-1, keepdim=True)
    if not torch.isfinite(rewards).all():
        row = int((~torch.isfinite(rewards)).nonzero()[0, 0])
        raise BatchError(f"the reward of row {row} is {rewards[row, 0]:g}: look at the reward function")
    mask = data.batch["response_mask"]
    # A response without a valid token gets 0, as from verl's product with the mask. Most have one at their start.
    is_valid = mask[:, :1].any(-1)
    is_valid[~is_valid] = mask[~is_valid].any(-1)
    columns = {"token_level_rewards": rewards, "response_mask": is_valid.long()[:, None]}
    batch = TensorDict(columns, batch_size=len(rewards))
    return type(data)(batch=batch, non_tensor_batch={"uid": data.non_tensor_batch["uid"]})


def of_column(data: Any, norm: bool, std: str) -> Any:
    """Writes grpo's `advantages` and `returns` into `column`'s result, with the `sample` or the `population` std."""
    scores = data.batch["token_level_rewards"][:, 0]
    group = number_groups(data.non_tensor_batch["uid"])
    outcome = as_grpo(scores, group, norm) if std == "sample" else normalise_by_group_population(scores, group)
    data.batch["advantages"] = data.batch["returns"] = outcome[:, None] * data.batch["response_mask"]
    return data


def as_grpo(scores: Tensor, group: Tensor, norm: bool) -> Tensor:
    """Returns what verl's `compute_grpo_outcome_advantage` does, to the bit: torch's mean and std, group by group.

        Â_i = (r_i − mean(r_G)) / (std(r_G) + ε), or r_i − mean(r_G); a group of one has mean 0 and std 1

    verl goes through the responses one by one, which takes several times as long.
    """
    order, sizes = torch.argsort(group, stable=True), torch.bincount(group).tolist()
    groups = list(zip(scores[order].split(sizes), sizes, strict=True))
    mean = torch.stack([of.mean() if size > 1 else of.new_zeros(()) for of, size in groups])
    deviation = scores - mean[group]
    if not norm:
        return deviation
    # verl's is in float32, whatever the scores are in.
    alone = (torch.tensor(1.0) + EPSILON).to(scores.dtype)
    divisor = torch.stack([of.std() + EPSILON if size > 1 else alone for of, size in groups])
    return deviation / divisor[group]
