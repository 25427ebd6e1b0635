"""Lists the methods that weigh tokens: Â_{i,t} ← w_{i,t} · Â_{i,t}, and computes λ-GRPO's weights and their controls.

These are made of |λ(i,t)|, which `count_process_sets` counts.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.process_sets import ProcessSets
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import empty, row_blocks


def lambda_grpo(
    sizes: Int[Tensor, "bs length"], response_mask: Shaped[Tensor, "bs length"]
) -> Float[Tensor, "bs length"]:
    """Computes λ-GRPO's weights, under which every token of the tree counts once, however many responses share it.

        w_{i,t} = 1 / |λ(i,t)|

    The loss is still divided by the number of tokens, so that the step is smaller as well: see the two controls.

    See "GRPO is Secretly a Process Reward Model" (https://arxiv.org/abs/2509.21154), eq. 9.

    Args:
        sizes: |λ(i,t)|, of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The weights, float32; 0 in masked slots.

    Raises:
        InvalidInput: shapes or devices do not fit, or a valid token has no |λ|.
    """
    return _by_size(sizes, response_mask)[0]


def lambda_grpo_mean_one(
    sizes: Int[Tensor, "bs length"], response_mask: Shaped[Tensor, "bs length"]
) -> Float[Tensor, "bs length"]:
    """Computes λ-GRPO's weights divided by their mean over the batch: the structure without the smaller step.

        w_{i,t} = (1 / |λ(i,t)|) / mean_m(1 / |λ|)

    With verl's `token-mean` this is eq. 9 of arXiv 2509.21154 with Σ 1/|λ|, the number of distinct tokens of the trees,
    in place of ΣLen. A control of ours; the paper has none.

    Args:
        sizes: |λ(i,t)|, of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The weights, float32; 0 in masked slots.

    Raises:
        InvalidInput: shapes or devices do not fit, or a valid token has no |λ|.
    """
    weights, mean = _by_size(sizes, response_mask)
    # Without a valid token all weights are 0.
    return weights.div_(mean) if mean > 0 else weights


def uniform_mean(
    sizes: Int[Tensor, "bs length"], response_mask: Shaped[Tensor, "bs length"]
) -> Float[Tensor, "bs length"]:
    """Computes the mean of λ-GRPO's weights over the batch, for every token: the smaller step without the structure.

        w_{i,t} = mean_m(1 / |λ|) = Σ m/|λ| / Σ m

    A control of ours; arXiv 2509.21154 has none.

    Args:
        sizes: |λ(i,t)|, of `count_process_sets`.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        The weights, float32, a view of one number; the same in masked slots.

    Raises:
        InvalidInput: shapes or devices do not fit, or a valid token has no |λ|.
    """
    weights, mean = _by_size(sizes, response_mask)
    return weights.new_tensor(mean).expand(sizes.shape)


def _by_size(sizes: Tensor, response_mask: Tensor) -> tuple[Tensor, float]:
    """Returns 1/|λ|, 0 in masked slots, and its mean over the valid tokens, 0 where there is none."""
    checks.process_set_sizes(sizes, response_mask)
    weights, total, tokens = empty(sizes.shape, torch.float32, sizes.device), 0.0, 0
    for rows in row_blocks(sizes):
        mask = response_mask[rows].bool()
        weights[rows] = block = zero_where_masked(sizes[rows].float().reciprocal(), mask)
        total, tokens = total + block.sum().item(), tokens + int(mask.count_nonzero())
    if not math.isfinite(total):
        sample, token = (response_mask.bool() & (sizes == 0)).nonzero()[0].tolist()
        raise checks.InvalidInput(
            f"sample {sample} has no token {token}, and response_mask counts it: count with the mask of all tokens "
            "that exist, observations included"
        )
    return weights, total / max(1, tokens)


class TreeFigures(NamedTuple):
    """How much the responses of a batch have in common.

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
    """
    # Behind these columns nothing is shared.
    columns = int(sets.reach.max()) if len(group) else 0
    sizes, mask, tokens = sets.sizes[:, :columns], response_mask[:, :columns], int(response_mask.count_nonzero())
    shared, saved = 0, 0.0
    for rows in row_blocks(sizes):
        with_others = mask[rows].bool() & (sizes[rows] > 1)
        shared += int(with_others.count_nonzero())
        saved += zero_where_masked(1 - sizes[rows].float().reciprocal(), with_others).sum().item()
    there = sets.copies > 0
    _, group = torch.unique(group[there], return_inverse=True)
    several = torch.bincount(group) > 1
    flat = several & (torch.bincount(group, sets.reach[there]) == 0)
    return TreeFigures(
        mean_weight=1 - saved / tokens if tokens else 0.0,
        shared_tokens=shared / max(1, tokens),
        flat_groups=int(flat.sum()) / max(1, int(several.sum())),
        duplicate_responses=int((sets.copies > 1).sum()) / max(1, int(there.sum())),
    )


Weigh = Callable[[Tensor, Tensor], Tensor]
"""(sizes, response_mask) → w, (bs, length), finite in masked slots, too."""

TOKEN_WEIGHTS: dict[str, Weigh] = {
    "lambda_grpo": lambda_grpo,
    "lambda_grpo_mean_one": lambda_grpo_mean_one,
    "uniform_mean": uniform_mean,
}
"""Name -> method."""
