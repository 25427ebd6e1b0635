"""Weighs tokens after the advantage: Â_{i,t} ← w_{i,t} · Â_{i,t}, with or without the future divergence.

`algorithm.token_weights=NAME` chooses a method. It may ask for any field that the host has of a batch, token ids among
them: V0 holds the whole batch, V1 fetches seven fields and here those that are missing.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frpo_verl.advantage import number_groups
from frpo_verl.preflight.errors import BatchError, SettingsError

KEY = "token_weights"
"""The key of verl's `algorithm` section."""

Weigh = Callable[[Mapping[str, Tensor], Tensor, Mapping[str, Any]], Tensor]
"""(fields, group, algorithm) → weights, (bs, length): the fields asked for, with `response_mask`; the number of each
response's group; verl's `algorithm` section."""


class Method(NamedTuple):
    """One way to weigh tokens, and the fields of the batch that it reads."""

    weigh: Weigh
    fields: tuple[str, ...]


METHODS: dict[str, Method] = {}
"""Name -> method."""

Fetch = Callable[[tuple[str, ...]], Any]
_fetch: ContextVar[Fetch | None] = ContextVar("fetch", default=None)
"""Gets fields that V1's trainer has not fetched, padded, in the order of the batch; None with other trainers."""


def chosen(algorithm: Mapping[str, Any] | None) -> Method | None:
    """Returns the run's method, or None; raises SettingsError where there is none of that name, or it cannot run."""
    name = None if algorithm is None else algorithm.get(KEY)
    if name is None:
        return None
    if name not in METHODS:
        known = ", ".join(sorted(METHODS)) or "none is registered"
        raise SettingsError(f"algorithm.{KEY}={name}: there is no such method ({known}); correct it, or leave it out")
    if (algorithm.get("frpo") or {}).get("kl") == "current":
        raise SettingsError(
            f"algorithm.{KEY}={name} with algorithm.frpo.kl=current: workers subtract the term after the weights were "
            "applied; set algorithm.frpo.kl=rollout"
        )
    return METHODS[name]


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
            f"algorithm.{KEY}={algorithm[KEY]} returned weights of shape {tuple(weights.shape)}, and a finite number "
            f"is needed for each of {tuple(mask.shape)}: look at the method"
        )
    advantages = data.batch["advantages"]
    # Masked slots keep what stands there; returns may be the same tensor, and stay.
    data.batch["advantages"] = torch.where(mask.bool(), advantages * weights.to(advantages.dtype), advantages)
    return data


def _fields(batch: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    missing, fetch = tuple(name for name in names if name not in batch), _fetch.get()
    if missing and fetch is None:
        raise BatchError(f"token weights need {', '.join(missing)} in the batch, which holds {sorted(batch.keys())}")
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
