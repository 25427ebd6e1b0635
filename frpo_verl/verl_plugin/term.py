"""Subtracts β·reg from the advantages of a batch, and names what keeps that from being done."""

from typing import Any

from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import RegularisedBatch, number_groups, regularise_batch
from frpo_verl.checks import InvalidInput, NonFiniteToken
from frpo_verl.preflight.errors import BatchError
from frpo_verl.preflight.settings import Settings
from frpo_verl.rows import empty

_NEEDED = {
    "old_log_probs": "let verl recompute them",
    "ref_log_prob": "check that every process has loaded frpo-verl, so that verl loads the reference policy",
}


def regularised(data: Any, before: Tensor, chosen: Settings, beta: float) -> RegularisedBatch:
    """Returns Â_{i,t} − β·reg_{i,t} with sums for the log line; Â is `before`, (bs,) or (bs, length).

    Raises BatchError: the log-probs are missing, or a valid token's are not finite.
    """
    batch, variant = data.batch, chosen.variant
    for key, fix in _NEEDED.items():
        if key not in batch:
            raise BatchError(f"frpo needs {key!r} in the batch, which holds {sorted(batch.keys())}: {fix}")
    read = (batch[key] for key in ("old_log_probs", "ref_log_prob", "response_mask"))
    group = number_groups(data.non_tensor_batch["uid"]) if variant.centring == "group" else None
    try:
        return regularise_batch(before, *read, beta, chosen.generator, variant, group)
    except NonFiniteToken as error:
        raise _not_finite(error, batch) from None
    except InvalidInput as error:
        raise BatchError(f"frpo cannot regularise this batch: {error}") from None


def spread(outcome: Tensor, response_mask: Tensor) -> Tensor:
    """Returns (bs, length): the outcome of a response times its mask, as verl's grpo has it, in cheaper memory."""
    # Converted first: a product of two dtypes takes twice as long.
    return empty(response_mask.shape, outcome.dtype, outcome.device).copy_(response_mask).mul_(outcome[:, None])


def _not_finite(error: NonFiniteToken, batch: TensorDict) -> BatchError:
    row, token = error.sample, error.token
    old, reference = batch["old_log_probs"][row, token], batch["ref_log_prob"][row, token]
    return BatchError(
        f"{error.count} of {int(batch['response_mask'].bool().sum())} response tokens have a log-ratio to the "
        f"reference that is not finite, the first in row {row} at token {token} (old_log_probs {old:g}, ref_log_prob "
        f"{reference:g}): the policy has diverged or the two models differ in vocabulary; lower the learning rate or "
        "check the reference's path"
    )
