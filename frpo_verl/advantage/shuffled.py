"""Makes the authors' control experiment: the same divergences, at the wrong tokens."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import over_rows


def shuffle_tokens(
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    random: torch.Generator,
) -> Float[Tensor, "bs length"]:
    """Permutes δ among the valid tokens of each response, uniformly.

    Every response keeps its total divergence and loses where it arose. If training does as well on these, it was not
    the credit to tokens that helped. A control of the authors' public ablation ("shuffled future-KL").

    Args:
        log_ratio: δ per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        random: the source of the permutations, on any device.

    Returns:
        δ per token, permuted; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, log_ratio=log_ratio)

    def of_rows(log_ratio: Tensor, mask: Tensor) -> Tensor:
        draw = torch.rand(mask.shape, generator=random, device=random.device).to(mask.device)
        # Valid slots in order of a uniform draw, put into the valid slots in order of position.
        drawn = torch.where(mask, draw, 2.0).argsort(-1)
        slots = torch.where(mask, 0, 1).argsort(dim=-1, stable=True)
        shuffled = torch.zeros_like(log_ratio).scatter_(-1, slots, log_ratio.gather(-1, drawn))
        return zero_where_masked(shuffled, mask)

    return over_rows(of_rows, log_ratio, response_mask.bool()).to(log_ratio.dtype)
