"""A node of a Ray cluster that dies ends the run, also where verl would wait for what was on it for ever.

verl ends by itself where a call to a lost worker fails. But its trainer waits for rollouts without a limit, and those
that were under way in a lost agent loop never come.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

POLL_SECONDS = 3
GRACE_SECONDS = 15
"""How long verl has to end by itself, with its own account of what was lost."""

_started = threading.Event()


def start() -> None:
    """Watches, from a thread of the driver, from the moment that Ray is there; once per process."""
    if not _started.is_set():
        _started.set()
        threading.Thread(target=_watch, name="frpo-verl: node watch", daemon=True).start()


def homes_of(actors: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Where a run's actors live.

    Args:
        actors: Ray's table of them.

    Returns:
        Node -> the classes of the actors there.
    """
    homes: dict[str, list[str]] = {}
    for actor in actors:
        homes.setdefault(actor["Address"]["NodeID"], []).append(actor["ActorClassName"].rsplit(".", 1)[-1])
    return homes


def loss(nodes: Iterable[dict[str, Any]], homes: dict[str, list[str]]) -> str | None:
    """What the run has lost, in one sentence.

    Args:
        nodes: Ray's table of nodes, the dead ones included.
        homes: where the run's actors lived a moment ago.

    Returns:
        None while every node that has actors of the run is alive.
    """
    lost = [node for node in nodes if not node["Alive"] and node["NodeID"] in homes]
    if not lost:
        return None
    names = ", ".join(
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, node {node['NodeID'][:6]})" for node in lost
    )
    classes = [name for node in lost for name in homes[node["NodeID"]]]
    return (
        f"frpo-verl: {names} died, and with it {len(classes)} actors of this run ({', '.join(sorted(set(classes)))}); "
        "start it again without that node, with trainer.resume_mode=auto, to go on from the last checkpoint"
    )


def _watch() -> None:
    import ray
    from ray._private.state import actors

    while not ray.is_initialized():
        time.sleep(POLL_SECONDS)
    job, homes = ray.JobID.from_hex(ray.get_runtime_context().get_job_id()), {}
    while ray.is_initialized():
        sentence = loss(ray.nodes(), homes)
        if sentence:
            print(sentence, file=sys.stderr, flush=True)
            time.sleep(GRACE_SECONDS)
            # Not an exception: the main thread may wait where none reaches it. Ray ends what belongs to its driver.
            os._exit(1)
        homes = homes_of(actors(job_id=job, actor_state_name="ALIVE").values())
        time.sleep(POLL_SECONDS)
