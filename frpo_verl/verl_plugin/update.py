"""Watches every update of the actor: what the run asks for must have been done to the batch's advantages.

Whatever trainer it is, verl's or another, it ends in one call of the actor's worker group, in the process in which verl
has decided on the reference policy. There the run's configuration is remembered.
"""

from collections.abc import Callable, Container
from functools import partial
from typing import Any

from frpo_verl.verl_plugin import kl_loss, note, run


def bound(host: Callable, group: Any, method_name: str, *args: Any, **kwargs: Any) -> Callable:
    """Returns a method of verl's worker group, watched if it is the actor's update."""
    method = host(group, method_name, *args, **kwargs)
    # Colocated workers have their role's name before it.
    return partial(watched, method) if method_name.endswith("update_actor") else method


def watched(method: Callable, *args: Any, **kwargs: Any) -> Any:
    """Runs one update, and ends the run where trainer or workers left out what it asks for.

    A note that did not come with the batch, since a trainer of somebody else made the batch anew, is put there.
    """
    batch, asked, waiting = [*args, *kwargs.values()][0], run.asked(), run.outbox.take_note()
    told = _told(batch) or waiting
    if told is not None:
        _tell(batch, told)
    if asked is not None:
        note.require(told, asked.algorithm)
        if not asked.actor_rollout_ref.actor.use_kl_loss:
            _drop(batch, kl_loss.FIELD)
    sent = _fields(batch)
    output = method(*args, **kwargs)
    if (figures := _figures(output)) is not None:
        note.require_acknowledgement(told, figures)
        kl_loss.require_acknowledgement(sent, figures)
    return output


def _meta(batch: Any) -> dict | None:
    """Returns where V1's and older batches keep what is no tensor; None for those that keep all in one place."""
    found = getattr(batch, "extra_info", None)
    return getattr(batch, "meta_info", None) if found is None else found


def _told(batch: Any) -> str | None:
    from verl.utils import tensordict_utils as tu

    if (meta := _meta(batch)) is not None:
        return meta.get(note.KEY)
    return tu.get(batch, note.KEY) if hasattr(batch, "batch_size") else None


def _tell(batch: Any, told: str) -> None:
    from verl.utils import tensordict_utils as tu

    if (meta := _meta(batch)) is not None:
        meta[note.KEY] = told
    elif hasattr(batch, "batch_size"):
        tu.assign_non_tensor(batch, **{note.KEY: told})


def _tensors(batch: Any) -> Any:
    return batch.batch if hasattr(batch, "batch") else batch


def _fields(batch: Any) -> Container[str] | None:
    return batch.fields if hasattr(batch, "fields") else list(_tensors(batch).keys())


def _drop(batch: Any, field: str) -> None:
    if not hasattr(batch, "fields"):
        _tensors(batch).pop(field, None)


def _figures(output: Any) -> dict[str, Any] | None:
    """Returns the workers' figures; None for an update that the trainer does not wait for."""
    from verl.utils import tensordict_utils as tu

    if (meta := _meta(output)) is not None:
        return meta.get("metrics")
    return tu.get(output, "metrics") if hasattr(output, "batch_size") else None
