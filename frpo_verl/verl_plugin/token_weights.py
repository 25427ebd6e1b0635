"""Weighs tokens after the advantage: Â_{i,t} ← w_{i,t} · Â_{i,t}, with or without the future divergence.

`algorithm.token_weight=NAME` chooses a method. It may ask for any field that the host has of a batch, token ids among
them: V0 holds the whole batch, V1 fetches seven fields and here those that are missing.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from frpo_verl.advantage import number_groups
from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS, TokenWeight
from frpo_verl.preflight.errors import BatchError, SettingsError
from frpo_verl.preflight.methods import TOKEN_WEIGHT, token_weight_problems

Fetch = Callable[[tuple[str, ...]], Any]
_fetch: ContextVar[Fetch | None] = ContextVar("fetch", default=None)
"""Gets fields that V1's trainer has not fetched, padded, in the order of the batch; None with other trainers."""


def chosen(algorithm: Mapping[str, Any] | None) -> TokenWeight | None:
    """Returns the run's method, or None; raises SettingsError where it cannot run."""
    if algorithm is None or algorithm.get(TOKEN_WEIGHT) is None:
        return None
    for problem in token_weight_problems(algorithm):
        raise SettingsError(problem)
    return TOKEN_WEIGHTS[algorithm[TOKEN_WEIGHT]]


def weighed(data: Any, algorithm: Mapping[str, Any] | None) -> Any:
    """Multiplies the advantages of verl's DataProto by the weights that the run asks for, if any."""
    method = chosen(algorithm)
    if method is None:
        return data
    mask = data.batch["response_mask"]
    fields = {"response_mask": mask, **_fields(data.batch, method.fields)}
    weights = method.weigh(fields, number_groups(data.non_tensor_batch["uid"]), algorithm)
    if weights.shape != mask.shape or not torch.isfinite(weights[mask.bool()]).all():
        raise BatchError(
            f"algorithm.{TOKEN_WEIGHT}={algorithm[TOKEN_WEIGHT]} returned weights of shape {tuple(weights.shape)}, and "
            f"a finite number is needed for each of {tuple(mask.shape)}: look at the method"
        )
    advantages = data.batch["advantages"]
    # Masked slots keep what stands there; returns may be the same tensor, and stay.
    data.batch["advantages"] = torch.where(mask.bool(), advantages * weights.to(advantages.dtype), advantages)
    return data


def _fields(batch: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    missing, fetch = tuple(name for name in names if name not in batch), _fetch.get()
    if missing and fetch is None:
        raise BatchError(
            f"the token weight needs {', '.join(missing)} in the batch, which holds {sorted(batch.keys())}"
        )
    fetched = fetch(missing) if missing else {}
    return {name: fetched[name] if name in missing else batch[name] for name in names}


def with_more_fields(host: Callable, trainer: Any, batch: Any, metrics: dict) -> Any:
    """Runs V1's `_compute_advantage`, while a method can fetch more fields of the batch from verl's TransferQueue."""

    def fetch(names: tuple[str, ...]) -> Any:
        import transfer_queue

        fields = transfer_queue.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=list(names)
        )
        return fields.to_padded_tensor()

    token = _fetch.set(fetch)
    try:
        return host(trainer, batch, metrics)
    finally:
        _fetch.reset(token)
