"""Statistics over the responses to one prompt."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def normalise_by_group(
    scores: Float[Tensor, " bs"],
    group: Int[Tensor, " bs"],
    epsilon: float = 1e-6,
) -> Float[Tensor, " bs"]:
    """GRPO's outcome advantage: each score, centred and scaled within its group.

        Âᵢ = (rᵢ − mean(r_G)) / (std(r_G) + ε)

    with the sample standard deviation (1/(G−1)), as verl's `grpo` has it; the paper's Algorithm 1 writes 1/G. A group
    of one keeps its raw score (mean 0, std 1), as in verl.

    See "DeepSeekMath" (https://arxiv.org/abs/2402.03300), section 4.1.2.

    Args:
        scores: one reward per response.
        group: the group of each response, any integers.
        epsilon: added to the standard deviation.

    Returns:
        The outcome advantage Â of each response.
    """
    _, group = torch.unique(group, return_inverse=True)
    size = torch.bincount(group)
    mean = torch.zeros_like(scores[: len(size)]).index_add_(0, group, scores) / size
    deviation = scores - mean[group]
    square_sum = torch.zeros_like(mean).index_add_(0, group, deviation.square())
    std = (square_sum / (size - 1).clamp(min=1)).sqrt()
    return torch.where(size[group] > 1, deviation / (std[group] + epsilon), scores / (1 + epsilon))
