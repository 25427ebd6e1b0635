"""Computes outcome advantages from the rewards of the responses to one prompt."""

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from frpo_verl import checks

EPSILON = 1e-6
"""verl's, added to the standard deviation."""


def keep_score(scores: Float[Tensor, " alone"]) -> Float[Tensor, " alone"]:
    """Keeps the raw score of a group of one, as verl's `grpo` does (mean 0, standard deviation 1).

    Args:
        scores: the scores of responses that are alone in their group.

    Returns:
        The scores, which take the place of their deviation.
    """
    return scores


def drop_score(scores: Float[Tensor, " alone"]) -> Float[Tensor, " alone"]:
    """Gives a group of one 0, its deviation from its own mean, as the formula and "Dr. GRPO" (2503.20783) do.

    Args:
        scores: the scores of responses that are alone in their group.

    Returns:
        Zeros.
    """
    return torch.zeros_like(scores)


Alone = Callable[[Tensor], Tensor]
"""Scores of groups of one → what takes the place of their deviation: `keep_score` or `drop_score`."""


def number_groups(names: Iterable[Hashable]) -> Int[Tensor, " bs"]:
    """Numbers groups by the first appearance of their names, such as verl's prompt ids.

    Args:
        names: the name of each response's group.

    Returns:
        The number of each response's group, from 0.
    """
    number: dict[Hashable, int] = {}
    return torch.tensor([number.setdefault(name, len(number)) for name in names], dtype=torch.int64)


def normalise_by_group(
    scores: Float[Tensor, " bs"],
    group: Int[Tensor, " bs"],
    epsilon: float = EPSILON,
    alone: Alone = keep_score,
) -> Float[Tensor, " bs"]:
    """Computes GRPO's outcome advantage with the sample standard deviation (1/(G−1)), as verl's `grpo` does.

        Âᵢ = (rᵢ − mean(r_G)) / (std(r_G) + ε)

    See "DeepSeekMath" (https://arxiv.org/abs/2402.03300), section 4.1.2.

    Args:
        scores: one reward per response.
        group: the group of each response, any integers.
        epsilon: added to the standard deviation.
        alone: treats groups of one.

    Returns:
        The outcome advantage Â of each response, float32 or better.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a score is not finite.
    """
    of = _statistics(scores, group, alone)
    std = (of.square_sum / (of.size - 1).clamp(min=1)).sqrt()
    return (of.deviation / (std + epsilon)).to(of.dtype)


def normalise_by_group_population(
    scores: Float[Tensor, " bs"],
    group: Int[Tensor, " bs"],
    epsilon: float = EPSILON,
    alone: Alone = keep_score,
) -> Float[Tensor, " bs"]:
    """Computes GRPO's outcome advantage with the population standard deviation (1/G), the paper's Algorithm 1.

        Âᵢ = (rᵢ − mean(r_G)) / (√(1/G Σ (r − mean)²) + ε)

    √(G/(G−1)) times `normalise_by_group`, 1.118 at G = 5: with it the reward weighs 12 % more against β.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), Algorithm 1.

    Args:
        scores: one reward per response.
        group: the group of each response, any integers.
        epsilon: added to the standard deviation.
        alone: treats groups of one.

    Returns:
        The outcome advantage Â of each response, float32 or better.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a score is not finite.
    """
    of = _statistics(scores, group, alone)
    std = (of.square_sum / of.size).sqrt()
    return (of.deviation / (std + epsilon)).to(of.dtype)


def centre_by_group(
    scores: Float[Tensor, " bs"],
    group: Int[Tensor, " bs"],
    alone: Alone = keep_score,
) -> Float[Tensor, " bs"]:
    """Computes the outcome advantage without scaling, verl's `norm_adv_by_std_in_grpo=False`: Âᵢ = rᵢ − mean(r_G).

    The hidden utility is then ℓ(p) = (1 − 1/G)·p, so that β means the same for easy and hard prompts.

    See "Understanding R1-Zero-Like Training" (https://arxiv.org/abs/2503.20783).

    Args:
        scores: one reward per response.
        group: the group of each response, any integers.
        alone: treats groups of one.

    Returns:
        The centred scores, float32 or better.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a score is not finite.
    """
    of = _statistics(scores, group, alone)
    return of.deviation.to(of.dtype)


class _Statistics(NamedTuple):
    size: Tensor
    deviation: Tensor
    square_sum: Tensor
    dtype: torch.dtype


def _statistics(scores: Tensor, group: Tensor, alone: Alone) -> _Statistics:
    """Returns statistics of each response's group; a group of one counts with a standard deviation of 1."""
    checks.scores_and_groups(scores, group)
    # In float64: equal float32 scores need not equal their mean, and the rest would be divided by ε.
    dtype, scores = torch.promote_types(scores.dtype, torch.float32), scores.double()
    _, group = torch.unique(group, return_inverse=True)
    size = torch.bincount(group)[group]
    deviation = scores - _sum_by_group(scores, group) / size
    square_sum = _sum_by_group(deviation.square(), group)
    single = size == 1
    return _Statistics(
        size=size,
        deviation=torch.where(single, alone(scores), deviation),
        square_sum=torch.where(single, torch.ones_like(square_sum), square_sum),
        dtype=dtype,
    )


def _sum_by_group(values: Tensor, group: Tensor) -> Tensor:
    return torch.zeros_like(values).index_add_(0, group, values)[group]
