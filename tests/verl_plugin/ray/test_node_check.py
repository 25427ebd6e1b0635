"""A node without the plugin, or with another version of it, is named before anything is placed on it."""

import subprocess
import sys

import pytest

from frpo_verl import __version__

pytest.importorskip("verl")

from frpo_verl.preflight.errors import HostError, SettingsError  # noqa: E402
from frpo_verl.verl_plugin.ray import node_check  # noqa: E402

PLACE = f"""
import os, sys, ray, verl
from frpo_verl.verl_plugin.ray.launch import DRIVERS_VERSION
from verl.single_controller.ray.base import ResourcePoolManager
if sys.argv[2] == "frpo":
    os.environ[DRIVERS_VERSION] = "{__version__}"
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
ResourcePoolManager({{}}, {{}}).create_resource_pool()
print("placed")
"""


@pytest.fixture
def answering(monkeypatch):
    """A run on a cluster whose other nodes answer so; returns what verl would have been asked to place."""
    monkeypatch.setenv(node_check.DRIVERS_VERSION, __version__)

    def place(has_ranks: bool = True, **answers) -> str:
        found = {node: node_check.Answer(answer, has_ranks) for node, answer in answers.items()}
        monkeypatch.setattr(node_check, "_answers", lambda: found)
        node_check._require_everywhere.cache_clear()
        return node_check.checked_before_placement(lambda manager: manager, "placed")

    yield place
    node_check._require_everywhere.cache_clear()


def test_nodes_that_answer_with_the_drivers_version_are_used(answering):
    assert answering() == "placed"
    assert answering(one=__version__, two=__version__) == "placed"


def test_all_unfit_nodes_are_in_one_sentence(answering, capsys):
    missing = ModuleNotFoundError("No module named 'frpo_verl'")
    with pytest.raises(HostError) as refused:
        answering(one="9.9.9", two=__version__, three=missing, four=OSError("x"))
    version, absent = str(refused.value).split("; ")[::2]
    assert version == f"frpo-verl 9.9.9 on one, but {__version__} where the run was started"
    assert absent.endswith("frpo-verl cannot be imported on three (No module named 'frpo_verl')")
    assert "two" not in str(refused.value)
    # what does not answer may be slow, and verl may not need it
    assert "four" not in str(refused.value)
    assert capsys.readouterr().err.startswith("frpo-verl: warning: no answer from four in 60 s (OSError: x); look at")


def test_nodes_without_accelerators_are_named_and_the_run_goes_on(answering, capsys):
    assert answering(has_ranks=False, one="9.9.9") == "placed"
    assert capsys.readouterr().err.startswith("frpo-verl: warning: frpo-verl 9.9.9 on one, but ")


def test_too_few_places_are_said_with_what_each_node_has(answering, monkeypatch):
    import ray
    from verl.single_controller.ray.base import ResourcePoolManager

    def node(name: str, alive: bool = True, **resources: float) -> dict:
        about = {"NodeManagerHostname": name, "NodeManagerAddress": "10.0.0.1", "NodeID": name * 8, "Alive": alive}
        return {**about, "Resources": resources}

    nodes = [node("a", GPU=8.0, CPU=4.0), node("b", GPU=8.0), node("c", CPU=4.0), node("d", alive=False, GPU=8.0)]
    free = {"a" * 8: {"GPU": 8.0}, "b" * 8: {"CPU": 1.0}}
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    # verl's own verdict is by node, and by a private function
    monkeypatch.setattr(ray._private.state, "available_resources_per_node", lambda: free)
    monkeypatch.setattr(ray, "available_resources", lambda: {"GPU": 8.0, "CPU": 1.0})
    monkeypatch.setattr(node_check, "_answers", dict)
    manager = ResourcePoolManager({"trainer": [8, 8], "rollout": [4]}, {})
    # verl's own verdict
    with pytest.raises(SettingsError) as refused:
        node_check.checked_before_placement(ResourcePoolManager._check_resource_available, manager)
    assert str(refused.value) == (
        "trainer.nnodes, trainer.n_gpus_per_node and the rollout's places ask for 20 GPUs and Ray has 8 free, of 8 on "
        "a (10.0.0.1, node aaaaaa), 8 on b (10.0.0.1, node bbbbbb); start more nodes, end what holds them, or lower "
        "those keys"
    )


def test_another_error_of_verls_stays_as_it_is(answering, monkeypatch):
    monkeypatch.setattr(node_check, "_answers", dict)

    def host(manager):
        raise ValueError("something else")

    with pytest.raises(ValueError, match="^something else$"):
        node_check.checked_before_placement(host, None)


def test_a_run_that_the_plugin_did_not_start_is_left_alone(answering, monkeypatch):
    monkeypatch.delenv(node_check.DRIVERS_VERSION)
    assert answering(one="9.9.9") == "placed"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What a driver meets where one node has another version of the package, and another node has none."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for package in ("__version__ = '9.9.9'", "raise ModuleNotFoundError('no frpo_verl here')"):
        folder = tmp_path_factory.mktemp("node")
        (folder / "frpo_verl").mkdir()
        (folder / "frpo_verl" / "__init__.py").write_text(package)
        nodes.add_node(num_cpus=1, num_gpus=1, env_vars={"PYTHONPATH": str(folder)})

    def run(wanted: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-P", "-W", "ignore", "-c", PLACE, nodes.address, wanted]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder.parent)

    yield run
    nodes.shutdown()


@pytest.mark.slow
def test_nodes_without_it_or_with_another_version_are_named(place):
    sentence = place("frpo").stderr.strip().splitlines()[-1]
    assert sentence.startswith("frpo_verl.preflight.errors.HostError: frpo-verl ")
    assert "frpo-verl 9.9.9 on " in sentence
    assert f"), but {__version__} where the run was started; install the same version on every node" in sentence
    assert "frpo-verl cannot be imported on " in sentence
    assert "no frpo_verl here); install it there, into the environment that has verl" in sentence


@pytest.mark.slow
def test_a_run_without_the_term_does_not_ask(place):
    ended = place("grpo")
    assert ended.stdout.strip() == "placed", ended.stderr[-2000:]
