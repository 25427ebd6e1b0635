"""Gives the rollout worker its own copy of every weight bucket."""

import inspect
from collections.abc import Callable
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap


def _receive_copies(host: Callable, receiver, on_bucket_received: Callable) -> None:
    def on_copies(weights: list, is_last: bool) -> None:
        copies = [(name, tensor.clone()) for name, tensor in weights]
        # verl's loop still holds these views when it closes the shared memory; a view left here would block that,
        # and read the next bucket's bytes.
        weights.clear()
        on_bucket_received(copies, is_last)

    try:
        host(receiver, on_copies)
    except BufferError as error:
        # A failed bucket leaves its views behind, so closing the memory fails too; the first failure is the cause.
        raise error.__context__ or error from None


def _is_needed(transfer: ModuleType) -> bool:
    # Its `.to(device)` copies off an accelerator's staging buffer, but on the CPU it returns the view itself. In doubt
    # the shim stays: a second copy costs little, a view that is reused corrupts weights.
    return ".clone()" not in inspect.getsource(transfer.BucketedWeightReceiver.receive_weights)


def _apply(transfer: ModuleType) -> None:
    wrap(transfer.BucketedWeightReceiver, "receive_weights", _receive_copies)


SHIM = Shim(
    name="copied weight buckets",
    module="verl.workers.rollout.vllm_rollout.bucketed_weight_transfer",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="on a CPU verl hands out views into a shared buffer that it then reuses and closes",
    is_needed=_is_needed,
    apply=_apply,
)
