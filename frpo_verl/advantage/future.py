"""What a token costs from here on: the return-to-go of a divergence."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from frpo_verl.divergences import Generator
from frpo_verl.masking import zero_where_masked


def return_to_go(
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Bool[Tensor, "bs length"],
    generator: Generator,
) -> Float[Tensor, "bs length"]:
    """The weight of each token in the gradient of E_{a~π_θ} Σ_j f(u_j).

        reg_t = local(δ_t) + Σ_{j>t} m_j future(δ_j)

    For reverse KL, local(δ) = future(δ) = δ and reg_t = Σ_{j≥t} m_j δ_j, the masked reverse cumulative sum. Masked
    slots (padding, tool and observation tokens) contribute 0, the sum runs on across them, and they get 0 themselves.
    The sum is kept in float32 or better: over thousands of tokens half precision would lose it.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), Theorem 4.1 and eq. 4.5.

    Args:
        log_ratio: δ = log π_θ − log π_ref per token, in nats; masked slots may hold anything, NaN included.
        response_mask: True for the tokens that the policy produced.
        generator: the divergence.

    Returns:
        reg per token, detached, float32 or better.
    """
    dtype = torch.promote_types(log_ratio.dtype, torch.float32)
    delta = zero_where_masked(log_ratio.detach().to(dtype), response_mask)
    future = zero_where_masked(generator.future(delta), response_mask)
    strictly_later = torch.zeros_like(future)
    strictly_later[:, :-1] = future.flip(-1).cumsum(-1).flip(-1)[:, 1:]
    return zero_where_masked(generator.local(delta) + strictly_later, response_mask)
