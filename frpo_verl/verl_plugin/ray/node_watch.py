"""Ends the run when a node dies, even where verl would wait forever for its rollouts.

verl ends by itself where a call to a lost worker fails. But its trainer waits for rollouts without a limit, and those
that a lost agent loop was making never come.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from frpo_verl.preflight.ray_names import node_name

POLL_SECONDS = 3
GRACE_SECONDS = 25
"""Seconds that verl has to end by itself, with its own account of what was lost and its loggers closed."""

REMEMBERED_SECONDS = 60
"""Seconds after an actor's end for which its node's death explains it: Ray hears of actors before it hears of nodes."""

VERLS = ("WorkerDict", "HttpServer", "AgentLoopWorker", "RewardLoopWorker", "StorageUnit", "Controller", "LoadBalancer")
"""Parts of the names of verl's and TransferQueue's own actors. A run can do without others, such as a user's tools."""

_started = threading.Lock()


class Home(NamedTuple):
    """The node of one of verl's actors, when it was last seen alive, and its class."""

    node: str
    seen: float
    name: str


def start() -> None:
    """Starts a thread of the driver that watches nodes as soon as Ray is there; one thread at a time.

    Does nothing in an interactive session, which the end of a run must not end.
    """
    if not hasattr(sys, "ps1") and _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="frpo-verl: node watch", daemon=True).start()


def homes_of(actors: dict[str, dict[str, Any]], before: dict[str, Home], now: float) -> dict[str, Home]:
    """Returns where the run's indispensable actors live, or lived a moment ago, by id.

    `actors` is Ray's table of those that are alive, `before` the last result, `now` seconds of any clock. Detached
    actors and those that are not verl's are left out.
    """
    homes = {actor: home for actor, home in before.items() if now - home.seen < REMEMBERED_SECONDS}
    for identity, actor in actors.items():
        name = actor["ActorClassName"].rsplit(".", 1)[-1]
        if not actor["IsDetached"] and any(part in name for part in VERLS):
            homes[identity] = Home(actor["Address"]["NodeID"], now, name)
    return homes


def loss(nodes: Iterable[dict[str, Any]], homes: dict[str, Home]) -> str | None:
    """Returns what the run has lost, in one sentence, or None while every node that has actors of it is alive.

    `nodes` is Ray's table, the dead ones included; `homes` is where the run's actors live, or lived a moment ago.
    """
    homeless = {home.node for home in homes.values()}
    lost = [node for node in nodes if not node["Alive"] and node["NodeID"] in homeless]
    if not lost:
        return None
    names, dead = ", ".join(map(node_name, lost)), {node["NodeID"] for node in lost}
    gone = [home.name for home in homes.values() if home.node in dead]
    return (
        f"frpo-verl: {names} died, and with it {len(gone)} actors of this run ({', '.join(sorted(set(gone)))}); "
        "start it again without that node, with trainer.resume_mode=auto, to resume from the last checkpoint"
    )


def _watch() -> None:
    import ray

    try:
        while not ray.is_initialized():
            time.sleep(POLL_SECONDS)
        _watch_nodes()
    except Exception as error:
        # Most often Ray is being shut down; otherwise the run continues unwatched.
        if ray.is_initialized():
            print(f"frpo-verl: nodes are no longer watched ({type(error).__name__}: {error})", file=sys.stderr)
    finally:
        _started.release()


def _watch_nodes() -> None:
    import ray
    from ray._private.state import actors
    from ray.util.client import ray as client

    if client.is_connected():
        print("frpo-verl: through a Ray Client (ray://), nodes are not watched", file=sys.stderr)
        return
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    homes: dict[str, Home] = {}
    while ray.is_initialized():
        table = actors(job_id=job)
        alive = {identity: actor for identity, actor in table.items() if actor["State"] == "ALIVE"}
        homes = homes_of(alive, homes, time.monotonic())
        # Not those that Ray is about to start again elsewhere.
        ended = {identity for identity in homes if table.get(identity, {"State": "DEAD"})["State"] == "DEAD"}
        sentence = loss(ray.nodes(), {identity: homes[identity] for identity in ended})
        if sentence:
            print(sentence, file=sys.stderr, flush=True)
            time.sleep(GRACE_SECONDS)
            # Not an exception: the main thread may wait where none reaches it. Ray ends what belongs to its driver.
            os._exit(1)
        time.sleep(POLL_SECONDS)
