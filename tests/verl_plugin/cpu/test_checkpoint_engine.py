"""The checkpoint engine for the CPU, between one sender, an idle actor and two receivers."""

import asyncio
import threading

import pytest
import torch

pytest.importorskip("verl")

from frpo_verl.verl_plugin.cpu.checkpoint_engine import CpuCheckpointEngine  # noqa: E402

WEIGHTS = {
    **{f"weight {row}": torch.randn(1000, row + 1) for row in range(40)},
    "half": torch.randn(3, 4).to(torch.bfloat16),
    "scalar": torch.tensor(3.0),
    "transposed": torch.randn(4, 5).t(),
}


@pytest.fixture
def engines(monkeypatch):
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    return [CpuCheckpointEngine(bucket_size=1, is_master=rank == 0) for rank in range(4)]


def synchronize(engines) -> list[dict[str, torch.Tensor]]:
    sender, idle, *receivers = engines
    metadata = [engine.prepare() for engine in engines]
    actors, rollouts = CpuCheckpointEngine.build_topology(2, 2, metadata)
    for engine, addresses in zip(engines, actors["addresses"] + rollouts["addresses"], strict=True):
        engine.init_process_group(addresses)
    received = [{}, {}]

    async def receive(receiver, into: dict) -> None:
        async for name, weight in receiver.receive_weights():
            into[name] = weight

    threads = [
        threading.Thread(target=lambda pair=pair: asyncio.run(receive(*pair)), daemon=True)
        for pair in zip(receivers, received, strict=True)
    ]
    for thread in threads:
        thread.start()
    for engine in (idle, sender):
        asyncio.run(engine.send_weights(iter(WEIGHTS.items())))
    for thread in threads:
        thread.join(30)
    for engine in engines:
        engine.finalize()
    return received


def test_every_receiver_gets_every_weight_to_the_bit_at_every_synchronization(engines):
    for _ in range(2):
        for received in synchronize(engines):
            assert list(received) == list(WEIGHTS)
            for name, weight in WEIGHTS.items():
                assert received[name].dtype == weight.dtype
                assert torch.equal(received[name], weight)
