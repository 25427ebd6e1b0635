"""Sends weights from the trainer to servers in other processes over ZMQ, as a checkpoint engine of verl.

verl's own engines for a separate rollout pool (nccl, nixl, mooncake, …) need cupy, CUDA or RDMA.
"""

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import ray
import torch
import zmq
from verl.checkpoint_engine.base import CheckpointEngine

# In messages, not bytes: a receiver that is slow to load holds the sender back instead of filling the memory.
_MESSAGES_IN_FLIGHT = 8


class CpuCheckpointEngine(CheckpointEngine):
    """Sends each weight from actor rank 0 to every rollout worker, as one message of a header and the weight's bytes.

    Addresses are exchanged at every synchronization, so that servers may come and go in between. No wait has a time
    limit: verl's driver waits for all ends at once, and Ray tells it when one fails or dies. `bucket_size` is ignored,
    because no buffer is kept; verl passes it to every engine.
    """

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self._is_master = is_master
        self._inbox: zmq.Socket | None = None
        self._outboxes: list[zmq.Socket] = []

    def prepare(self) -> str | None:
        """Opens an inbox and returns its address; the master has none.

        Actors other than rank 0 open one too, because only the topology knows who is who; theirs stay empty.
        """
        if self._is_master:
            return None
        host = ray.util.get_node_ip_address().strip("[]")
        address = f"tcp://[{host}]" if ":" in host else f"tcp://{host}"
        self._inbox = _socket(zmq.PULL, address)
        return f"{address}:{self._inbox.bind_to_random_port(address)}"

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[str | None]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Gives actor rank 0 the addresses of all rollout workers, and everyone else none."""
        addresses = metadata[actor_wg_world_size:]
        return (
            {"addresses": [addresses, *([] for _ in range(actor_wg_world_size - 1))]},
            {"addresses": [[] for _ in range(rollout_world_size)]},
        )

    def init_process_group(self, addresses: list[str]) -> None:
        """Connects the sender to its receivers' inboxes without waiting for them."""
        for address in addresses:
            outbox = _socket(zmq.PUSH, address)
            outbox.connect(address)
            self._outboxes.append(outbox)

    def finalize(self) -> None:
        """Closes the sockets of this synchronization."""
        for socket in (self._inbox, *self._outboxes):
            if socket is not None:
                socket.close()
        self._inbox, self._outboxes = None, []

    @torch.no_grad()
    async def send_weights(self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None) -> None:
        """Sends names and full tensors; an actor that is not rank 0 only takes part in gathering them."""
        for name, weight in weights:
            if self._outboxes:
                header = {"name": name, "dtype": str(weight.dtype).removeprefix("torch."), "shape": list(weight.shape)}
                # ZMQ sends after this returns, and the actor may change a weight that is not copied.
                data = weight.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                self._send(header, data)
        self._send(None, b"")

    @torch.no_grad()
    async def receive_weights(self, global_steps: int | None = None) -> AsyncGenerator[tuple[str, torch.Tensor], None]:
        """Yields each weight's name and a tensor with its own memory."""
        while True:
            header = self._inbox.recv_json()
            data = self._inbox.recv()
            if header is None:
                return
            flat = torch.frombuffer(bytearray(data), dtype=getattr(torch, header["dtype"]))
            yield header["name"], flat.view(header["shape"])

    def _send(self, header: dict | None, data: bytes) -> None:
        for outbox in self._outboxes:
            outbox.send_json(header, zmq.SNDMORE)
            outbox.send(data, copy=False)


def _socket(kind: int, address: str) -> zmq.Socket:
    socket = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.IPV6, "[" in address)
    socket.set_hwm(_MESSAGES_IN_FLIGHT)
    return socket
