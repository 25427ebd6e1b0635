"""What a node's death means for a run."""

import subprocess
import sys

import pytest

from frpo_verl.verl_plugin import node_watch


def node(identity: str, alive: bool = True) -> dict:
    return {
        "NodeID": identity,
        "Alive": alive,
        "NodeManagerHostname": "host",
        "NodeManagerAddress": f"10.0.0.{identity}",
    }


def actor(name: str, home: str) -> dict:
    return {"ActorClassName": name, "Address": {"NodeID": home}}


HOMES = node_watch.homes_of(
    [
        actor("create_colocated_worker_cls.<locals>.WorkerDict", "1"),
        actor("WorkerDict", "2"),
        actor("AgentLoopWorkerTQ", "2"),
    ]
)


def test_actors_are_counted_where_they_live():
    assert HOMES == {"1": ["WorkerDict"], "2": ["WorkerDict", "AgentLoopWorkerTQ"]}


def test_nothing_is_said_while_nodes_with_actors_live():
    assert node_watch.loss([node("1"), node("2"), node("3", alive=False)], HOMES) is None
    assert node_watch.loss([node("1", alive=False)], {}) is None


def test_a_dead_node_is_named_with_what_was_on_it():
    assert node_watch.loss([node("1"), node("2", alive=False)], HOMES) == (
        "frpo-verl: host (10.0.0.2, node 2) died, and with it 2 actors of this run (AgentLoopWorkerTQ, WorkerDict); "
        "start it again without that node, with trainer.resume_mode=auto, to go on from the last checkpoint"
    )


WAITS = """
import sys, time, ray
from frpo_verl.verl_plugin import node_watch
node_watch.POLL_SECONDS, node_watch.GRACE_SECONDS = 0.2, 0.5
node_watch.start()
node_watch.start()
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=0, resources={"second": 1})
class Waits:
    def ready(self):
        return True

actor = Waits.remote()
ray.get(actor.ready.remote())
print("ready", flush=True)
# as verl's replay buffer
while True:
    time.sleep(1)
"""


@pytest.mark.slow
def test_a_driver_that_waits_for_nothing_is_ended():
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = nodes.add_node(num_cpus=1, resources={"second": 1})
        command = [sys.executable, "-P", "-W", "ignore", "-c", WAITS, nodes.address]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert driver.stdout.readline() == "ready\n", driver.stderr.read()
        nodes.remove_node(second, allow_graceful=False)
        _, said = driver.communicate(timeout=60)
    finally:
        nodes.shutdown()
    assert driver.returncode == 1
    assert "died, and with it 1 actors of this run (Waits)" in said.strip().splitlines()[-1]
