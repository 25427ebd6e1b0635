"""Counts the nodes and GPUs of a running Ray cluster, for `recipes/run_on_cluster.sh`.

`python -m frpo_verl.preflight.cluster_size ADDRESS NNODES NGPUS_PER_NODE` prints both numbers; an empty one is taken
from the cluster.
"""

import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from frpo_verl.preflight.errors import HostError

Result = TypeVar("Result")

ACCELERATORS = ("GPU", "NPU")
"""Ray's resources by which verl places its workers."""

SECONDS_TO_JOIN = 120
"""Seconds that nodes may take that were started a moment ago."""

SECONDS_TO_ANSWER = 10
"""Seconds that a cluster's first node may take to accept a connection."""


def chosen(accelerators: Sequence[int], nodes: int | None, per_node: int | None) -> tuple[int, int]:
    """Returns the number of nodes of a run and of accelerators on each, from those of each node of the cluster.

    None takes all nodes that have any, and as many as all of these have. A cluster that has fewer is a HostError.
    """
    able = sorted((count for count in accelerators if count), reverse=True)
    if not able:
        raise HostError("the Ray cluster has no GPU; start its nodes with `ray start --num-gpus=N`")
    nodes = nodes or sum(count >= (per_node or 1) for count in able) or 1
    if len(able) < nodes or able[nodes - 1] < (per_node or 1):
        raise HostError(
            f"NNODES={nodes}, NGPUS_PER_NODE={per_node or 'not set'}: the Ray cluster has nodes with "
            f"{', '.join(map(str, able))} GPUs; set them to what is there, or start more nodes"
        )
    return nodes, per_node or able[nodes - 1]


def patiently(look: Callable[[], Result], seconds: float) -> Result:
    """Returns what `look` does, called again for so long while it raises `HostError`: nodes may just have started."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look()
        except HostError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1)


def _number(name: str, text: str) -> int | None:
    if text and not (text.isdecimal() and int(text)):
        raise HostError(f"{name}={text}: not a positive whole number; set it to one")
    return int(text) if text else None


def _connect(address: str) -> None:
    import ray

    try:
        # Ray itself would try for five minutes.
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise HostError(
            f"RAY_ADDRESS={address}: no Ray cluster answers there ({said}); start one with `ray start --head`, or name "
            "another"
        ) from None


def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


def _accelerators() -> list[int]:
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [int(max(resources.get(name, 0) for name in ACCELERATORS)) for resources in alive]


def main(arguments: Sequence[str]) -> None:
    """Prints `NNODES NGPUS_PER_NODE` for an address and the wanted numbers, each of which may be empty."""
    address, *numbers = arguments
    nodes, per_node = map(_number, ("NNODES", "NGPUS_PER_NODE"), numbers)
    # Without a wanted number, what is there now counts.
    seconds = SECONDS_TO_JOIN if nodes else 0
    patiently(lambda: _connect(address), seconds)
    print(*patiently(lambda: chosen(_accelerators(), nodes, per_node), seconds))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except HostError as error:
        sys.exit(f"frpo-verl: {error}")
