"""Lists the methods that weigh tokens: Â_{i,t} ← w_{i,t} · Â_{i,t}, and computes λ-GRPO's weights and their controls.

These are made of |λ(i,t)|, of `count_process_sets`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.process_sets import ProcessSets
from frpo_verl.rows import empty


def lambda_grpo(sets: ProcessSets, response_mask: Shaped[Tensor, "bs length"]) -> Float[Tensor, "bs length"]:
    """Computes λ-GRPO's weights, under which every token of the tree counts once, however many responses share it.

        w_{i,t} = 1 / |λ(i,t)|

    The loss is still divided by the number of tokens, so that the step is smaller as well: see the two controls.

    See "GRPO is Secretly a Process Reward Model" (https://arxiv.org/abs/2509.21154), eq. 9.

    Args:
        sets: of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The weights, float32; 0 in masked slots.

    Raises:
        InvalidInput: the mask has another shape than the batch of the sets.
    """
    checks.mask_of_sets(sets.start, sets.length, response_mask)
    weights = empty(response_mask.shape, torch.float32, torch.device("cpu"))
    weights.copy_(response_mask.bool())
    for rows, columns, size in sets.spans():
        weights.numpy()[rows, columns] /= size
    return weights.to(response_mask.device)


def lambda_grpo_mean_one(sets: ProcessSets, response_mask: Shaped[Tensor, "bs length"]) -> Float[Tensor, "bs length"]:
    """Computes λ-GRPO's weights divided by their mean over the batch: the structure without the smaller step.

        w_{i,t} = (1 / |λ(i,t)|) / mean_m(1 / |λ|)

    With verl's `token-mean` this is eq. 9 of arXiv 2509.21154 with Σ 1/|λ|, the number of distinct tokens of the trees,
    in place of ΣLen. A control of ours; the paper has none.

    Args:
        sets: of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The weights, float32; 0 in masked slots.

    Raises:
        InvalidInput: the mask has another shape than the batch of the sets.
    """
    return lambda_grpo(sets, response_mask).div_(_shared(sets, response_mask).mean_weight or 1.0)


def uniform_mean(sets: ProcessSets, response_mask: Shaped[Tensor, "bs length"]) -> Float[Tensor, "bs length"]:
    """Computes the mean of λ-GRPO's weights over the batch, for every token: the smaller step without the structure.

        w_{i,t} = mean_m(1 / |λ|) = Σ m/|λ| / Σ m

    A control of ours; arXiv 2509.21154 has none.

    Args:
        sets: of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The weights, float32; 0 in masked slots.

    Raises:
        InvalidInput: the mask has another shape than the batch of the sets.
    """
    checks.mask_of_sets(sets.start, sets.length, response_mask)
    weights = empty(response_mask.shape, torch.float32, response_mask.device)
    return weights.copy_(response_mask.bool()).mul_(_shared(sets, response_mask).mean_weight)


class _Shared(NamedTuple):
    tokens: int
    shared: int
    mean_weight: float


def _shared(sets: ProcessSets, response_mask: Tensor) -> _Shared:
    """Returns Σ m, Σ m·[|λ| > 1] and Σ m/|λ| / Σ m, 0 without a valid token."""
    mask, tokens = response_mask.cpu().numpy(), int(response_mask.count_nonzero())
    shared, saved = 0, 0.0
    for rows, columns, size in sets.spans():
        valid = np.count_nonzero(mask[rows, columns])
        shared, saved = shared + valid, saved + valid * (1 - 1 / size)
    return _Shared(tokens, shared, 1 - saved / tokens if tokens else 0.0)


class TreeFigures(NamedTuple):
    """Measures what the responses of a batch have in common.

    Attributes:
        mean_weight: Σ m/|λ| / Σ m, λ-GRPO's mean weight: the distinct tokens' share of all.
        shared_tokens: Σ m·[|λ| > 1] / Σ m, the share of valid tokens that another response of the group has, too.
        flat_groups: the share of groups in which no token is shared, of those with two responses or more.
        duplicate_responses: the share of responses that are equal to another of their group.
    """

    mean_weight: float
    shared_tokens: float
    flat_groups: float
    duplicate_responses: float


def describe_sets(
    sets: ProcessSets,
    response_mask: Shaped[Tensor, "bs length"],
    group: Int[Tensor, " bs"],
) -> TreeFigures:
    """Computes the figures of a batch; responses without a token count nowhere, and 0 stands for a share of nothing.

    Args:
        sets: of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.
        group: the group of each response, any integers.

    Returns:
        Shares and a mean, as numbers.

    Raises:
        InvalidInput: the mask has another shape than the batch of the sets.
    """
    checks.mask_of_sets(sets.start, sets.length, response_mask)
    tokens, shared, mean_weight = _shared(sets, response_mask)
    group = group.cpu()[sets.order]
    several = int((group.unique(return_counts=True)[1] > 1).sum())
    with_sets = len(group[sets.steps[:, 0]].unique())
    return TreeFigures(
        mean_weight=mean_weight,
        shared_tokens=shared / max(1, tokens),
        flat_groups=(several - with_sets) / max(1, several),
        duplicate_responses=int((sets.copies > 1).sum()) / max(1, len(sets.order)),
    )


Weigh = Callable[[ProcessSets, Tensor], Tensor]
"""(process sets, response_mask) → w, (bs, length), finite in masked slots, too."""

TOKEN_WEIGHTS: dict[str, Weigh] = {
    "lambda_grpo": lambda_grpo,
    "lambda_grpo_mean_one": lambda_grpo_mean_one,
    "uniform_mean": uniform_mean,
}
"""Name -> method."""
