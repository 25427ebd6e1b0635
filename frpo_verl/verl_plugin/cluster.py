"""Every node of a Ray cluster has the driver's frpo-verl, or the run ends before it places a worker there."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from frpo_verl import __version__
from frpo_verl.verl_plugin.errors import HostError
from frpo_verl.verl_plugin.launch import DRIVERS_VERSION

PATIENCE = 30
"""Seconds without an answer after which the nodes that are waited for are named."""


def checked_before_placement(host: Callable, manager: Any) -> Any:
    """verl's `ResourcePoolManager.create_resource_pool`, after every other node was asked for its version.

    Args:
        host: verl's method.
        manager: verl's manager of resource pools.

    Returns:
        What the host returns.

    Raises:
        HostError: a node is without frpo-verl, or has another version of it; the sentence names all such nodes.
    """
    if DRIVERS_VERSION in os.environ:
        _require_everywhere()
    return host(manager)


@functools.cache
def _require_everywhere() -> None:
    problems = [problem for node, answer in _answers().items() if (problem := _problem(node, answer))]
    if problems:
        raise HostError("; ".join(problems))


def _answers() -> dict[str, str | Exception]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def version() -> str:
        # A function of a function goes by value: a node without frpo-verl could not import it.
        import frpo_verl

        return frpo_verl.__version__

    # No CPU: a node whose CPUs are all taken answers too. One without any gets no worker of verl's.
    ask = ray.remote(num_cpus=0, max_retries=0)(version)
    here = ray.get_runtime_context().get_node_id()
    tasks = {
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(): (
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, node {node['NodeID'][:6]})"
        )
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU") and node["NodeID"] != here
    }
    _, late = ray.wait(list(tasks), num_returns=len(tasks), timeout=PATIENCE) if tasks else ([], [])
    if late:
        # Ray itself gives up on a node that died, and on an environment that cannot be set up.
        names = ", ".join(tasks[task] for task in late)
        print(f"frpo-verl: waiting for the runtime environment of {names}", file=sys.stderr)
    return {name: _answer(task) for task, name in tasks.items()}


def _answer(task: Any) -> str | Exception:
    import ray

    try:
        return ray.get(task)
    except Exception as error:
        # Whatever Ray raises is that node's answer.
        return getattr(error, "cause", None) or error


def _problem(node: str, answer: str | Exception) -> str | None:
    if answer == __version__:
        return None
    if isinstance(answer, str):
        return (
            f"frpo-verl {answer} on {node}, but {__version__} where the run was started; install the same version on "
            "every node"
        )
    said = " ".join(str(answer).split())[-300:]
    if isinstance(answer, ImportError):
        return f"frpo-verl cannot be imported on {node} ({said}); install it there, into the environment that has verl"
    return f"no answer from {node} ({type(answer).__name__}: {said}); mend the node, or take it out of the cluster"
