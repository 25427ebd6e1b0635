"""Subtracts β·reg from the advantages of a batch."""

from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import number_groups, regularise_batch, return_to_go, undiscounted
from frpo_verl.advantage.variant import divergence_to_go, is_plain
from frpo_verl.checks import InvalidInput, NonFiniteToken
from frpo_verl.masking import zero_where_masked
from frpo_verl.preflight.errors import BatchError
from frpo_verl.preflight.settings import Settings

_NEEDED = {
    "old_log_probs": "let verl recompute them",
    "ref_log_prob": "check that every process has loaded frpo-verl, so that verl loads the reference policy",
}


class Regularised(NamedTuple):
    """Advantages (bs, length) before and after, and (bs, 3), float64, the sums of f, reg and reg² of each response."""

    before: Tensor
    after: Tensor
    sums: Tensor


def regularised(data: Any, outcome: Tensor | None, chosen: Settings, beta: float) -> Regularised:
    """Returns Â_{i,t} − β·reg_{i,t}: Â is `outcome`, (bs,), or the `advantages` of the batch where that is None.

    Raises BatchError: the log-probs are missing, or a valid token's are not finite.
    """
    batch = data.batch
    for key, fix in _NEEDED.items():
        if key not in batch:
            raise BatchError(f"frpo needs {key!r} in the batch, which holds {sorted(batch.keys())}: {fix}")
    try:
        if outcome is not None and is_plain(chosen.variant):
            old, reference, mask = (batch[key] for key in ("old_log_probs", "ref_log_prob", "response_mask"))
            done = regularise_batch(outcome, old, reference, mask, beta, chosen.generator)
            return Regularised(done.outcomes, done.advantages, done.sums)
        return _in_steps(data, outcome, chosen, beta)
    except NonFiniteToken as error:
        raise _not_finite(error, batch) from None
    except InvalidInput as error:
        raise BatchError(f"frpo cannot regularise this batch: {error}") from None


def spread(outcome: Tensor, response_mask: Tensor) -> Tensor:
    """Returns (bs, length): every valid token gets its response's outcome, every other 0."""
    return zero_where_masked(outcome[:, None].expand(response_mask.shape), response_mask.bool())


def _in_steps(data: Any, outcome: Tensor | None, chosen: Settings, beta: float) -> Regularised:
    old, reference, mask = (data.batch[key] for key in ("old_log_probs", "ref_log_prob", "response_mask"))
    dtype = torch.promote_types(torch.promote_types(old.dtype, reference.dtype), torch.float32)
    log_ratio = old.to(dtype) - reference.to(dtype)
    if is_plain(chosen.variant):
        # Advantages are rounded once, as in the pass for grpo and in verl's own kl_mode.
        reg = return_to_go(log_ratio, mask, chosen.generator, _undiscounted_in_double)
    else:
        group = number_groups(data.non_tensor_batch["uid"]) if chosen.variant.centring == "group" else None
        reg = divergence_to_go(log_ratio, mask, chosen.generator, chosen.variant, group)
    valid = mask.bool()
    divergence = chosen.generator.future(zero_where_masked(log_ratio, valid))
    sums = torch.stack([part.double().sum(-1) for part in (divergence, reg, reg.double().square())], -1)
    before = data.batch["advantages"] if outcome is None else spread(outcome.to(dtype), mask)
    # Masked slots keep what the host wrote there.
    after = torch.where(valid, before - beta * reg, before).to(torch.promote_types(before.dtype, dtype))
    return Regularised(before, after, sums)


def _undiscounted_in_double(values: Tensor, mask: Tensor) -> Tensor:
    return undiscounted(values.double(), mask)


def _not_finite(error: NonFiniteToken, batch: TensorDict) -> BatchError:
    row, token = error.sample, error.token
    old, reference = batch["old_log_probs"][row, token], batch["ref_log_prob"][row, token]
    return BatchError(
        f"{error.count} of {int(batch['response_mask'].bool().sum())} response tokens have a log-ratio to the "
        f"reference that is not finite, the first in row {row} at token {token} (old_log_probs {old:g}, ref_log_prob "
        f"{reference:g}): the policy has diverged or the two models differ in vocabulary; lower the learning rate or "
        "check the reference's path"
    )
