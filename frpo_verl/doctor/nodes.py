"""Asks every node of a Ray cluster what its worker knows of the plugin."""

import contextlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from frpo_verl.doctor.report import Section
from frpo_verl.preflight import findings, probe
from frpo_verl.preflight.ray_names import node_name

TITLE = "Plugin, in Ray's workers"
PATIENCE = 10
"""Seconds that Ray gets to shut down once its time is up."""


class Question(NamedTuple):
    """Names the cluster (`local` for a Ray of its own), the workers' runtime environment, and the time Ray may take."""

    address: str
    runtime_env: dict[str, Any]
    seconds: float


def examine(question: Question, here: dict[str, Any]) -> Section:
    """Asks a worker on every living node whether the plugin is active there, and compares it with this process."""
    rows, problems = {"address": question.address}, []
    nodes = _answers(question)
    if isinstance(nodes, str):
        return Section(TITLE, rows, [nodes])
    for node, finding in nodes.items():
        where = f"Ray worker on {node}"
        if isinstance(finding, str):
            rows[node] = "no answer"
            problems.append(f"{where}: {finding}")
        else:
            rows[node] = findings.state(finding)
            problems += findings.problems(finding, where) + findings.differences(finding, here, where)
    return Section(TITLE, rows, problems)


def _answers(question: Question) -> dict[str, Any] | str:
    """Returns each node's finding or why it has none; one sentence where Ray as a whole does not answer."""
    # Only a separate process can be ended while Ray's C++ code waits. Spawned, it gets this one's sys.path.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, question))
    process.start()
    theirs.close()
    late = f"Ray at {question.address}: no answer in {question.seconds:g} s; check that it runs, or give --ray-timeout"
    try:
        if not ours.poll(question.seconds):
            process.terminate()
            return late
        return ours.recv()
    except EOFError:
        return f"Ray at {question.address}: it ended its process without an answer; read the lines above"
    finally:
        _end(process)


def _end(process: Any) -> None:
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(connection: Connection, question: Question) -> None:
    deadline = time.monotonic() + question.seconds
    # As verl does before it imports Ray, and without usage reports.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with _connected(question):
                # Short of the limit, so that a node that hangs can still be told from a Ray that does.
                connection.send(_ask_every_node(deadline - time.monotonic() - 0.1 * question.seconds))
        except Exception as error:
            # Whatever Ray raises is the finding.
            connection.send(f"Ray at {question.address}: {_one_line(error)}; start it, or give another --ray-address")


@contextlib.contextmanager
def _connected(question: Question) -> Iterator[None]:
    import ray

    options: dict[str, Any] = {"address": question.address}
    if question.address == "local":
        options |= {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
    if question.runtime_env:
        options["runtime_env"] = question.runtime_env
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        yield
    finally:
        ray.shutdown()


def _ask_every_node(seconds: float) -> dict[str, Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # By value: a worker without frpo-verl could not import the function.
    ray.cloudpickle.register_pickle_by_value(probe)
    # No CPU: a node whose CPUs are all taken answers too.
    ask = ray.remote(num_cpus=0, max_retries=0)(probe.examine)
    tasks = {
        node_name(node): ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    }
    ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=max(seconds, 0))
    return {name: _answer(task) for name, task in tasks.items()}


def _answer(task: Any) -> dict[str, Any] | str:
    import ray

    try:
        return ray.get(task, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return "it did not answer in time; check the node, or give --ray-timeout"
    except Exception as error:
        return f"it could not answer ({_one_line(error)}); check the node"


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The last line of a remote traceback is the error itself; a message of Ray's own begins with it.
    return lines[-1 if "Traceback" in str(error) else 0] if lines else type(error).__name__
