"""Checks that every node of a Ray cluster has the driver's frpo-verl, before a worker is placed there."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from frpo_verl import __version__
from frpo_verl.preflight.cluster_size import ACCELERATORS
from frpo_verl.preflight.errors import HostError, SettingsError
from frpo_verl.preflight.ray_names import node_name
from frpo_verl.verl_plugin.ray.launch import DRIVERS_VERSION, another_version

SECONDS = 60
"""Seconds that nodes have to answer, the set-up of Ray's runtime environment included."""


VERL_SAYS = "Total available GPUs"
"""Begins verl's refusal where the pools ask for more than there is."""


class Answer(NamedTuple):
    """The outcome of asking a node.

    Attributes:
        found: its version of frpo-verl, or what Ray raised.
        has_ranks: whether it has accelerators, so that verl may place actor workers there.
    """

    found: str | Exception
    has_ranks: bool


def checked_before_placement(host: Callable, manager: Any) -> Any:
    """Asks every other node for its version, then runs verl's `ResourcePoolManager.create_resource_pool`.

    Raises HostError where nodes with accelerators have no frpo-verl or another version, and names them all; raises
    SettingsError where verl finds too few GPUs, and says what each node has.
    """
    if DRIVERS_VERSION not in os.environ:
        return host(manager)
    _require_everywhere()
    try:
        return host(manager)
    except ValueError as error:
        if not str(error).startswith(VERL_SAYS):
            raise
        raise SettingsError(_too_few(manager)) from None


def _too_few(manager: Any) -> str:
    """Returns verl's refusal, which has two sums only, with the nodes and the fix."""
    import ray

    wanted = sum(places for pool in manager.resource_pool_spec.values() for places in pool)
    found = [
        f"{node['Resources'][name]:g} on {node_name(node)}"
        for node in ray.nodes()
        for name in ACCELERATORS
        if node["Alive"] and node["Resources"].get(name)
    ]
    free = sum(ray.available_resources().get(name, 0) for name in ACCELERATORS)
    return (
        f"trainer.nnodes, trainer.n_gpus_per_node and the rollout's places ask for {wanted} GPUs and Ray has {free:g} "
        f"free, of {', '.join(found) or 'none on any node'}; start more nodes, end what holds them, or lower those keys"
    )


@functools.cache
def _require_everywhere() -> None:
    unfit, doubtful = [], []
    for node, answer in _answers().items():
        if problem := _problem(node, answer.found):
            # Elsewhere verl may place no worker at all; one that it does place ends with the same sentence.
            is_known = isinstance(answer.found, str | ImportError)
            (unfit if answer.has_ranks and is_known else doubtful).append(problem)
    for problem in doubtful:
        print(f"frpo-verl: warning: {problem}", file=sys.stderr)
    if unfit:
        raise HostError("; ".join(unfit))


def _answers() -> dict[str, Answer]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def version() -> str:
        # A function of a function goes by value: a node without frpo-verl could not import it.
        import frpo_verl

        return frpo_verl.__version__

    # No CPU: a node whose CPUs are all taken answers too. One without any gets no worker of verl's.
    ask = ray.remote(num_cpus=0, max_retries=0)(version)
    here = ray.get_runtime_context().get_node_id()
    nodes = {
        node["NodeID"]: node
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU") and node["NodeID"] != here
    }
    tasks = {
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(): node
        for node in nodes
    }
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=SECONDS)
    found = {node: _answer(task) for task, node in tasks.items()}
    # A node that has left in the meantime is not a problem.
    left = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
    return {
        node_name(nodes[node]): Answer(answer, any(nodes[node]["Resources"].get(name) for name in ACCELERATORS))
        for node, answer in found.items()
        if node not in left
    }


def _answer(task: Any) -> str | Exception:
    import ray

    try:
        return ray.get(task, timeout=0)
    except Exception as error:
        # Whatever Ray raises is that node's answer.
        return getattr(error, "cause", None) or error


def _problem(node: str, found: str | Exception) -> str | None:
    if found == __version__:
        return None
    if isinstance(found, str):
        return another_version(found, node, __version__)
    said = " ".join(str(found).split())[-300:]
    if isinstance(found, ImportError):
        return f"frpo-verl cannot be imported on {node} ({said}); install it there, into the environment that has verl"
    return f"no answer from {node} in {SECONDS} s ({type(found).__name__}: {said}); look at the node"
