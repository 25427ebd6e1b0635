"""What a node's death means for a run."""

import subprocess
import sys

import pytest

from frpo_verl.verl_plugin.ray import node_watch


def node(identity: str, alive: bool = True) -> dict:
    return {
        "NodeID": identity,
        "Alive": alive,
        "NodeManagerHostname": "host",
        "NodeManagerAddress": f"10.0.0.{identity}",
    }


def actor(name: str, home: str, detached: bool = False) -> dict:
    return {"ActorClassName": name, "Address": {"NodeID": home}, "IsDetached": detached}


ACTORS = {
    "a": actor("create_colocated_worker_cls.<locals>.WorkerDict", "1"),
    "b": actor("WorkerDict", "2"),
    "c": actor("AgentLoopWorkerTQ", "2"),
    "d": actor("SandboxOfATool", "3"),
    "e": actor("WorkerDict", "3", detached=True),
}
HOMES = node_watch.homes_of(ACTORS, {}, 0.0)


def test_verls_own_actors_are_remembered_where_they_live():
    assert {identity: home[::2] for identity, home in HOMES.items()} == {
        "a": ("1", "WorkerDict"),
        "b": ("2", "WorkerDict"),
        "c": ("2", "AgentLoopWorkerTQ"),
    }


def test_an_actor_that_ended_is_forgotten_after_a_minute():
    alive = {"a": ACTORS["a"]}
    assert set(node_watch.homes_of(alive, HOMES, 59.0)) == {"a", "b", "c"}
    assert set(node_watch.homes_of(alive, HOMES, 61.0)) == {"a"}


def test_nothing_is_said_while_nodes_with_verls_actors_live():
    assert node_watch.loss([node("1"), node("2"), node("3", alive=False)], HOMES) is None
    assert node_watch.loss([node("1", alive=False)], {}) is None


def test_a_dead_node_is_named_with_what_was_on_it():
    assert node_watch.loss([node("1"), node("2", alive=False)], HOMES) == (
        "frpo-verl: host (10.0.0.2, node 2) died, and with it 2 actors of this run (AgentLoopWorkerTQ, WorkerDict); "
        "start it again without that node, with trainer.resume_mode=auto, to resume from the last checkpoint"
    )


WAITS = """
import sys, time, ray
from frpo_verl.verl_plugin.ray import node_watch
node_watch.POLL_SECONDS, node_watch.GRACE_SECONDS = 0.2, 0.5
node_watch.start()
node_watch.start()
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=0, resources={"second": 1})
class %s:
    def ready(self):
        return True

actor = %s.remote()
ray.get(actor.ready.remote())
time.sleep(1)
print("ready", flush=True)
# until it is told: as verl's replay buffer, without a limit
sys.stdin.readline()
"""


@pytest.fixture
def waiting():
    """Drivers, each with an actor of such a class on a node that then dies."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})

    def run(*names: str) -> list[subprocess.Popen]:
        second = nodes.add_node(num_cpus=1, resources={"second": len(names)})
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        command = [sys.executable, "-P", "-W", "ignore", "-c"]
        drivers = [
            subprocess.Popen([*command, WAITS % (name, name), nodes.address], text=True, **pipes) for name in names
        ]
        for driver in drivers:
            assert driver.stdout.readline() == "ready\n", driver.stderr.read()
        nodes.remove_node(second, allow_graceful=False)
        return drivers

    yield run
    nodes.shutdown()


@pytest.mark.slow
def test_a_driver_that_waits_for_a_lost_agent_loop_is_ended_and_no_other(waiting):
    lost, other = waiting("AgentLoopWorkerTQ", "SandboxOfATool")
    assert lost.wait(timeout=90) == 1
    said = lost.stderr.read()
    assert "died, and with it 1 actors of this run (AgentLoopWorkerTQ)" in said.strip().splitlines()[-1]
    # Ray has told both; the other looks every 0.2 s and would wait for 0.5 s
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=5)
    _, said = other.communicate("\n", timeout=90)
    assert other.returncode == 0
    assert "frpo-verl" not in said
