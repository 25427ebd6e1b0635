"""verl's real weight transfer over shared memory, with the CPU platform's two shims around it."""

import itertools
import sys
import tempfile
import threading

import pytest
import torch

pytest.importorskip("verl")

from frpo_verl.verl_plugin.cpu import device_module  # noqa: E402
from frpo_verl.verl_plugin.cpu.shims import vllm_version, weight_receiver, weight_sender  # noqa: E402
from frpo_verl.verl_plugin.cpu.shims.weight_sender import WatchedSocket  # noqa: E402
from frpo_verl.verl_plugin.patching import wrap  # noqa: E402

WEIGHTS = [
    ("a", torch.arange(6.0).reshape(2, 3)),
    ("b", torch.full((300_000,), 2.0)),
    ("c", torch.full((300_000,), 3.0)),
]


# The path of pytest's own temporary directories can be too long for a socket.
SOCKETS = tempfile.TemporaryDirectory(prefix="frpo-test-")
NUMBERS = itertools.count()


def ipc_address() -> str:
    return f"ipc://{SOCKETS.name}/{next(NUMBERS)}"


@pytest.fixture
def transfer(monkeypatch):
    """verl's module on a device that is the CPU, put back afterwards."""
    if vllm_version.SHIM.is_needed(weight_sender):
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, vllm_version.VllmCpuFinder])
    from verl.workers.rollout.vllm_rollout import bucketed_weight_transfer

    monkeypatch.setattr(bucketed_weight_transfer, "get_torch_device", lambda: device_module)
    monkeypatch.setattr(bucketed_weight_transfer, "is_support_ipc", lambda: False)
    receiver = bucketed_weight_transfer.BucketedWeightReceiver
    monkeypatch.setattr(receiver, "receive_weights", receiver.receive_weights)
    return bucketed_weight_transfer


def send_and_receive(transfer, on_bucket) -> None:
    """One transfer in buckets of 2 MiB; raises what the receiver raised."""
    import asyncio

    handle = ipc_address()
    sender = transfer.BucketedWeightSender(handle, bucket_size_mb=2, use_shm=True)
    sending = threading.Thread(target=lambda: asyncio.run(sender.async_send_weights(iter(WEIGHTS))), daemon=True)
    sending.start()
    transfer.BucketedWeightReceiver(handle, torch.device("cpu"), use_shm=True).receive_weights(on_bucket)
    sending.join(timeout=10)
    assert not sending.is_alive()


def test_the_obstacle_is_there_a_kept_view_cannot_outlive_the_buffer(transfer):
    kept = []
    with pytest.raises(BufferError):
        send_and_receive(transfer, lambda weights, is_last: kept.extend(weights))


def test_kept_weights_are_copies_and_survive_the_next_bucket(transfer):
    weight_receiver.SHIM.apply(transfer)
    kept = {}
    send_and_receive(transfer, lambda weights, is_last: kept.update(weights))
    assert kept.keys() == {"a", "b", "c"}
    for name, sent in WEIGHTS:
        assert torch.equal(kept[name], sent)


def test_what_a_bucket_raises_comes_out(transfer):
    weight_receiver.SHIM.apply(transfer)

    def refuse(weights, is_last):
        raise ValueError("the weights do not fit")

    handle = ipc_address()
    sender = transfer.BucketedWeightSender(handle, bucket_size_mb=2, use_shm=True)

    def send():
        import asyncio

        # the sender is left waiting, which is the other shim's business
        asyncio.run(sender.async_send_weights(iter(WEIGHTS)))

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(ValueError, match="the weights do not fit"):
        transfer.BucketedWeightReceiver(handle, torch.device("cpu"), use_shm=True).receive_weights(refuse)


class SilentSocket:
    """Nothing ever arrives."""

    def poll(self, timeout, event):
        return 0


@pytest.mark.parametrize("call", [lambda socket: socket.recv(), lambda socket: socket.send_pyobj({})])
def test_a_sender_whose_receiver_failed_raises_the_receivers_error(monkeypatch, call):
    import ray

    def failed(reference):
        raise ValueError("the server could not load")

    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references, []))
    monkeypatch.setattr(ray, "get", failed)
    with pytest.raises(ValueError, match="the server could not load"):
        call(WatchedSocket(SilentSocket(), "receiver"))


def test_a_receiver_that_ended_too_early_is_an_error_too(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references, []))
    monkeypatch.setattr(ray, "get", lambda reference: None)
    with pytest.raises(RuntimeError, match="ended the weight transfer before it was complete"):
        WatchedSocket(SilentSocket(), "receiver").recv()


def test_a_real_socket_without_a_peer_would_block_in_send_and_does_not(monkeypatch):
    import ray
    import zmq

    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references, []))
    monkeypatch.setattr(ray, "get", lambda reference: None)
    with zmq.Context() as context, context.socket(zmq.REQ) as alone:
        alone.bind(ipc_address())
        with pytest.raises(RuntimeError, match="ended the weight transfer"):
            WatchedSocket(alone, "receiver").send_pyobj({})


def test_an_answer_is_passed_on_while_the_receiver_still_runs(monkeypatch):
    import ray

    class Socket:
        polls = 0

        def poll(self, timeout, event):
            self.polls += 1
            return self.polls > 2

        def recv(self):
            return b"done"

    monkeypatch.setattr(ray, "wait", lambda references, timeout: ([], references))
    assert WatchedSocket(Socket(), "receiver").recv() == b"done"


def test_the_sender_watches_the_receiver_of_its_own_call():
    import asyncio

    class Adapter:
        async def _execute_method(self, method, **kwargs):
            return f"reference of {method}"

    class Sender:
        def _init_socket(self):
            self.socket = SilentSocket()

    wrap(Adapter, "_execute_method", weight_sender._remember_receiver)
    wrap(Sender, "_init_socket", weight_sender._watch_socket)

    async def update_weights():
        await Adapter()._execute_method("clear_cache")
        before = Sender()
        before._init_socket()
        await Adapter()._execute_method(weight_sender.RECEIVER_METHOD)
        after = Sender()
        after._init_socket()
        return before.socket, after.socket

    before, after = asyncio.run(update_weights())
    assert isinstance(before, SilentSocket)
    assert isinstance(after, WatchedSocket)
    assert after._receiver == f"reference of {weight_sender.RECEIVER_METHOD}"
