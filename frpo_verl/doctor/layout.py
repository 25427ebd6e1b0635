"""How many nodes with how many GPUs a running Ray cluster has, for `recipes/run_on_cluster.sh`.

`python -m frpo_verl.doctor.layout ADDRESS NNODES NGPUS_PER_NODE` prints both numbers; an empty one is taken from the
cluster.
"""

import socket
import sys
import time
from collections.abc import Callable, Sequence

ACCELERATORS = ("GPU", "NPU")
"""Ray's resources by which verl places its workers."""

SECONDS_TO_JOIN = 120
"""How long nodes that were started a moment ago may take."""


SECONDS_TO_ANSWER = 10
"""How long a cluster's first node may take to accept a connection."""


class LayoutError(RuntimeError):
    """The cluster is not there or too small; the message is one sentence for the user."""


def chosen(accelerators: Sequence[int], nodes: int | None, per_node: int | None) -> tuple[int, int]:
    """Nodes and accelerators a node for a run.

    Args:
        accelerators: how many each node of the cluster has.
        nodes: how many nodes are wanted; None for all that have any.
        per_node: how many of each are wanted; None for what all wanted nodes have.

    Returns:
        Both numbers.

    Raises:
        LayoutError: the cluster has fewer.
    """
    able = sorted((count for count in accelerators if count), reverse=True)
    if not able:
        raise LayoutError("the Ray cluster has no GPU; start its nodes with `ray start --num-gpus=N`")
    nodes = nodes or sum(count >= (per_node or 1) for count in able) or 1
    if len(able) < nodes or able[nodes - 1] < (per_node or 1):
        raise LayoutError(
            f"NNODES={nodes}, NGPUS_PER_NODE={per_node or 'not set'}: the Ray cluster has nodes with "
            f"{', '.join(map(str, able))} GPUs; set them to what is there, or start more nodes"
        )
    return nodes, per_node or able[nodes - 1]


def wait_for(look: Callable[[], list[int]], nodes: int | None, per_node: int | None, seconds: float) -> tuple[int, int]:
    """The same, given some time for nodes to join where their number is known.

    Args:
        look: how many accelerators each node has now.
        nodes: how many nodes are wanted, or None.
        per_node: how many accelerators of each, or None.
        seconds: how long they have.

    Returns:
        Nodes and accelerators a node.

    Raises:
        LayoutError: after that time the cluster still has fewer.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return chosen(look(), nodes, per_node)
        except LayoutError:
            if nodes is None or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _number(name: str, text: str) -> int | None:
    if text and not (text.isdecimal() and int(text)):
        raise LayoutError(f"{name}={text}: not a positive whole number; set it to one")
    return int(text) if text else None


def _connect(address: str) -> None:
    import ray

    try:
        # Ray itself would knock for five minutes.
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise LayoutError(
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
    """Prints `NNODES NGPUS_PER_NODE`.

    Args:
        arguments: the address, the wanted number of nodes or "", the wanted number of GPUs a node or "".
    """
    address, nodes, per_node = arguments
    wanted = _number("NNODES", nodes), _number("NGPUS_PER_NODE", per_node)
    _connect(address)
    print(*wait_for(_accelerators, *wanted, seconds=SECONDS_TO_JOIN))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LayoutError as error:
        sys.exit(f"frpo-verl: {error}")
