"""Subtracts β·reg from the advantages of a batch, and names what keeps that from being done."""

from typing import Any

import numpy as np
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import RegularisedBatch, number_groups, regularise_batch
from frpo_verl.advantage.variant import divergence_to_go, has_baseline
from frpo_verl.checks import InvalidInput, NonFiniteToken
from frpo_verl.preflight.errors import BatchError
from frpo_verl.preflight.settings import Settings
from frpo_verl.rows import empty
from frpo_verl.verl_plugin import sampled

_NEEDED = {
    "old_log_probs": "let verl recompute them",
    "ref_log_prob": "check that every process has loaded frpo-verl, so that verl loads the reference policy",
}


ROLLOUT = "frpo_rollout"
"""The field with each row's rollout, where one may have several outputs, a row each."""


def name_rollouts(data: Any, keys: list[str]) -> None:
    """Leaves each row's rollout in V1's batch, whose keys are {prompt}_{rollout}_{output}."""
    data.non_tensor_batch[ROLLOUT] = np.array([key.rsplit("_", 1)[0] for key in keys], dtype=object)


def regularised(data: Any, before: Tensor, chosen: Settings, beta: float, earlier: Tensor) -> RegularisedBatch:
    """Returns Â_{i,t} − β·reg_{i,t}, less a baseline if one is asked for, with sums for the log line.

    Â is `before`, (bs,) or (bs, length); `earlier` has the moments of earlier batches. Raises BatchError: the log-probs
    are missing, or a valid token's are not finite, or a baseline has no groups.
    """
    batch = data.batch
    for key, fix in _NEEDED.items():
        if key not in batch:
            raise BatchError(f"frpo needs {key!r} in the batch, which holds {sorted(batch.keys())}: {fix}")
    read = batch["old_log_probs"], batch["ref_log_prob"], sampled.mask_of(batch)
    try:
        return regularise_batch(before, *read, beta, chosen.generator, chosen.variant, *_groups(data, chosen), earlier)
    except NonFiniteToken as error:
        raise _not_finite(error, batch) from None
    except InvalidInput as error:
        raise BatchError(f"frpo cannot regularise this batch: {error}") from None


def to_go(data: Any, chosen: Settings) -> Tensor:
    """Returns reg of every token, in float64, of a batch that `regularised` has taken."""
    log_ratio = data.batch["old_log_probs"].double() - data.batch["ref_log_prob"].double()
    mask = sampled.mask_of(data.batch)
    return divergence_to_go(log_ratio, mask, chosen.generator, chosen.variant, *_groups(data, chosen))


def _groups(data: Any, chosen: Settings) -> list[Tensor | None]:
    """Returns each row's group and rollout, where they are looked at and known."""
    named, wanted = data.non_tensor_batch, chosen.variant.centring == "group" or has_baseline(chosen.variant)
    if has_baseline(chosen.variant) and "uid" not in named:
        raise BatchError(
            f"algorithm.frpo.baseline={chosen.variant.baseline} needs 'uid', each response's prompt, in the batch, "
            f"which holds {sorted(named)}: set algorithm.frpo.baseline=none"
        )
    device = data.batch["old_log_probs"].device
    return [number_groups(named[key]).to(device) if wanted and key in named else None for key in ("uid", ROLLOUT)]


def spread(outcome: Tensor, response_mask: Tensor) -> Tensor:
    """Returns (bs, length): the outcome of a response times its mask, as verl's grpo has it, in cheaper memory."""
    # Converted first: a product of two dtypes takes twice as long.
    return empty(response_mask.shape, outcome.dtype, outcome.device).copy_(response_mask).mul_(outcome[:, None])


def _not_finite(error: NonFiniteToken, batch: TensorDict) -> BatchError:
    row, token = error.sample, error.token
    old, reference = batch["old_log_probs"][row, token], batch["ref_log_prob"][row, token]
    return BatchError(
        f"{error.count} of {int(sampled.mask_of(batch).bool().sum())} response tokens have a log-ratio to the "
        f"reference that is not finite, the first in row {row} at token {token} (old_log_probs {old:g}, ref_log_prob "
        f"{reference:g}): the policy has diverged or the two models differ in vocabulary; lower the learning rate or "
        "check the reference's path"
    )
