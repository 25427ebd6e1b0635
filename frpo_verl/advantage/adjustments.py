"""Baselines and scales that the literature applies to a return-to-go before it is subtracted, each reg → reg."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.advantage.later import undiscounted
from frpo_verl.divergences import Generator
from frpo_verl.masking import masked_mean, zero_where_masked
from frpo_verl.rows import over_rows


def minus_length_baseline(
    divergence_to_go: Float[Tensor, "bs length"],
    log_ratio: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    generator: Generator,
) -> Float[Tensor, "bs length"]:
    """Subtracts the part of reg that one-sided generators such as k3 owe to length alone: reg_t − (T − t)·mean(f).

    T − t is the number of valid tokens still to come, mean(f) the mean of future(δ) over the valid tokens of the
    batch. Not a baseline in the strict sense: T depends on the action at t, so the expected gradient moves, by 40% on
    the enumerated policy of `tests/advantage/test_frpo.py` (k1; 36% for k3). The authors report that it did not help.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), section 6.2.2.

    Args:
        divergence_to_go: reg per token, from `return_to_go` with the same generator.
        log_ratio: δ per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        generator: the divergence.

    Returns:
        reg per token; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, divergence_to_go=divergence_to_go, log_ratio=log_ratio)
    mask = response_mask.bool()

    def future(reg: Tensor, log_ratio: Tensor, mask: Tensor) -> Tensor:
        return generator.future(zero_where_masked(log_ratio.to(reg.dtype), mask))

    mean = masked_mean(over_rows(future, divergence_to_go, log_ratio.detach(), mask), mask)

    def of_rows(reg: Tensor, mask: Tensor) -> Tensor:
        remaining = undiscounted(mask.to(reg.dtype), mask)
        return zero_where_masked(reg - remaining * mean, mask)

    return over_rows(of_rows, divergence_to_go, mask)


def centre_in_group(
    divergence_to_go: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    group: Int[Tensor, " bs"],
    rollout: Int[Tensor, " bs"] | None = None,
) -> Float[Tensor, "bs length"]:
    """Subtracts from each response the mean of reg over the valid tokens of the OTHER rollouts of its group.

        reg_{i,t} − ( Σ_{k∈G(i), k∉R(i)} Σ_t m reg_{k,t} ) / ( Σ_{k∈G(i), k∉R(i)} Σ_t m )

    R(i) are the rows of i's rollout: i alone, or all outputs of a conversation, of which the later depend on the
    earlier. The others were drawn independently, so this is a baseline and the expected gradient stays exact; the mean
    over the whole group, one's own included, would scale it. A rollout without others keeps its reg. Group
    centring of the future KL is a knob of the authors' ablation; AReaL's `mean_leave1out` leaves out single tokens.

    Args:
        divergence_to_go: reg per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.
        group: the group of each response, any integers.
        rollout: the rollout of each response, any integers, each in one group; None where each row is one.

    Returns:
        reg per token; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, divergence_to_go=divergence_to_go)
    rollout = torch.arange(len(group), device=group.device) if rollout is None else rollout
    for name, rows in (("group", group), ("rollout", rollout)):
        checks.integers(name, rows)
        checks.row_tensor(name, rows, response_mask)
    mask = response_mask.bool()
    of_rows = zero_where_masked(divergence_to_go, mask).sum(-1), mask.sum(-1)
    others_sum, others_count = (_by(group, values) - _by(rollout, values) for values in of_rows)
    baseline = torch.where(others_count > 0, others_sum / others_count.clamp(min=1), torch.zeros_like(others_sum))
    return zero_where_masked(divergence_to_go - baseline[:, None], mask)


def _by(label: Tensor, values: Tensor) -> Tensor:
    """Returns, of each row, the sum of the values of all rows with its label."""
    _, number = torch.unique(label, return_inverse=True)
    return torch.zeros_like(values).index_add_(0, number, values)[number]


def divide_by_length(
    divergence_to_go: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
) -> Float[Tensor, "bs length"]:
    """Divides by the length of the response: reg_t / T, T the number of its valid tokens.

    Regularises the mean divergence per token, roughly: T depends on the actions, so it is not an exact gradient. A knob
    of the authors' ablation, and a line that PRL's code carries commented out.

    Args:
        divergence_to_go: reg per token, in nats.
        response_mask: nonzero for the tokens that the policy produced.

    Returns:
        reg per token, in nats per token; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, divergence_to_go=divergence_to_go)
    mask = response_mask.bool()
    return zero_where_masked(divergence_to_go / mask.sum(-1, keepdim=True).clamp(min=1), mask)
