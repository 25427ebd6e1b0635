"""Ends a weight transfer with the receiver's error when the receiver failed, instead of waiting forever."""

from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from frpo_verl.verl_plugin.cpu.shims.shim import Shim
from frpo_verl.verl_plugin.patching import wrap

POLL_MS = 500
RECEIVER_METHOD = "update_weights_from_ipc"

_receiver: ContextVar = ContextVar("frpo_verl_weight_receiver", default=None)


class WatchedSocket:
    """Wraps a ZMQ request socket and, while it waits for its peer, watches the Ray call in which the peer runs.

    Both directions wait: a request socket without a peer blocks in `send`, one with a silent peer in `recv`.
    """

    def __init__(self, socket: Any, receiver: Any) -> None:
        self._socket = socket
        self._receiver = receiver

    def send_pyobj(self, message: Any) -> None:
        import zmq

        self._wait(zmq.POLLOUT)
        self._socket.send_pyobj(message)

    def recv(self) -> bytes:
        import zmq

        self._wait(zmq.POLLIN)
        return self._socket.recv()

    def _wait(self, event: int) -> None:
        import ray

        while not self._socket.poll(POLL_MS, event):
            finished, _ = ray.wait([self._receiver], timeout=0)
            if finished and not self._socket.poll(POLL_MS, event):
                ray.get(self._receiver)
                raise RuntimeError("the rollout server ended the weight transfer before it was complete")

    def __getattr__(self, name: str):
        return getattr(self._socket, name)


async def _remember_receiver(host: Callable, adapter, method: str, *args, **kwargs):
    future = await host(adapter, method, *args, **kwargs)
    if method == RECEIVER_METHOD:
        _receiver.set(future)
    return future


def _watch_socket(host: Callable, sender) -> None:
    host(sender)
    if _receiver.get() is not None:
        sender.socket = WatchedSocket(sender.socket, _receiver.get())


def _apply(vllm_rollout: ModuleType) -> None:
    wrap(vllm_rollout.ServerAdapter, "_execute_method", _remember_receiver)
    wrap(vllm_rollout.BucketedWeightSender, "_init_socket", _watch_socket)


SHIM = Shim(
    name="watched weight transfer",
    module="verl.workers.rollout.vllm_rollout.vllm_rollout",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl's sender waits forever on its socket when the receiving server has failed",
    is_needed=lambda module: True,
    apply=_apply,
)
