"""Lists the methods that weigh tokens: Â_{i,t} ← w_{i,t} · Â_{i,t}, and computes λ-GRPO's weights and their controls.

These are made of |λ(i,t)|, which `count_process_sets` counts.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.process_sets import ProcessSets
from frpo_verl.masking import masked_mean, zero_where_masked
from frpo_verl.rows import over_rows, row_blocks


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
    checks.process_set_sizes(sizes, response_mask)
    mask = response_mask.bool()
    weights = over_rows(lambda sizes, mask: zero_where_masked(sizes.float().reciprocal(), mask), sizes, mask)
    if not torch.isfinite(weights.sum()):
        sample, token = (mask & (sizes == 0)).nonzero()[0].tolist()
        raise checks.InvalidInput(
            f"sample {sample} has no token {token}, and response_mask counts it: count with the mask of all tokens "
            "that exist, observations included"
        )
    return weights


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
    weights = lambda_grpo(sizes, response_mask)
    mean = masked_mean(weights, response_mask.bool())
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
    return masked_mean(lambda_grpo(sizes, response_mask), response_mask.bool()).expand(sizes.shape)


class TreeFigures(NamedTuple):
    """How much the responses of a batch have in common, and what the weights make of it.

    Attributes:
        mean_weight: Σ m·w / Σ m.
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
    weights: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    group: Int[Tensor, " bs"],
) -> TreeFigures:
    """Computes the figures of a batch; responses without a token count nowhere, and 0 stands for a share of nothing.

    Args:
        sets: of `count_process_sets`.
        weights: of the tokens.
        response_mask: nonzero for the tokens that the policy produced.
        group: the group of each response, any integers.

    Returns:
        Shares and a mean, as numbers.
    """
    mask = response_mask.bool()
    there, shares, shared = sets.copies > 0, torch.zeros_like(sets.copies), 0
    for rows in row_blocks(mask):
        with_others = sets.sizes[rows] > 1
        shares[rows] = with_others.any(1).int()
        shared += int((mask[rows] & with_others).sum())
    _, group = torch.unique(group[there], return_inverse=True)
    several = torch.bincount(group) > 1
    flat = several & (torch.bincount(group, shares[there]) == 0)
    return TreeFigures(
        mean_weight=masked_mean(weights, mask).item(),
        shared_tokens=shared / max(1, int(mask.sum())),
        flat_groups=int(flat.sum()) / max(1, int(several.sum())),
        duplicate_responses=int((sets.copies > 1).sum()) / max(1, int(there.sum())),
    )


Weigh = Callable[[Mapping[str, Tensor], Tensor, Mapping[str, Any]], Tensor]
"""(fields, group, algorithm) → weights, (bs, length): the fields asked for, with `response_mask`; the number of each
response's group; verl's `algorithm` section."""


class TokenWeight(NamedTuple):
    """One way to weigh tokens, and the fields of the batch that it reads."""

    weigh: Weigh
    fields: tuple[str, ...]


TOKEN_WEIGHTS: dict[str, TokenWeight] = {}
"""Name -> method."""
