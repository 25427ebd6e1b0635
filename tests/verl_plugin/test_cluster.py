"""A node without the plugin, or with another version of it, is named before anything is placed on it."""

import subprocess
import sys

import pytest

from frpo_verl import __version__

pytest.importorskip("verl")

from frpo_verl.verl_plugin import cluster  # noqa: E402
from frpo_verl.verl_plugin.errors import HostError  # noqa: E402

PLACE = f"""
import os, sys, ray, verl
from frpo_verl.verl_plugin.launch import DRIVERS_VERSION
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
    monkeypatch.setenv(cluster.DRIVERS_VERSION, __version__)

    def place(has_ranks: bool = True, **answers) -> str:
        found = {node: cluster.Answer(answer, has_ranks) for node, answer in answers.items()}
        monkeypatch.setattr(cluster, "_answers", lambda: found)
        cluster._require_everywhere.cache_clear()
        return cluster.checked_before_placement(lambda manager: manager, "placed")

    yield place
    cluster._require_everywhere.cache_clear()


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


def test_a_run_that_the_plugin_did_not_start_is_left_alone(answering, monkeypatch):
    monkeypatch.delenv(cluster.DRIVERS_VERSION)
    assert answering(one="9.9.9") == "placed"


@pytest.fixture
def place(tmp_path):
    """What happens where the second node has such a `frpo_verl/__init__.py`."""
    from ray.cluster_utils import Cluster

    clusters = []

    def run(package: str | None, wanted: str = "frpo") -> subprocess.CompletedProcess:
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        clusters.append(nodes)
        variables = {}
        if package is not None:
            (tmp_path / "frpo_verl").mkdir()
            (tmp_path / "frpo_verl" / "__init__.py").write_text(package)
            variables["env_vars"] = {"PYTHONPATH": str(tmp_path)}
        nodes.add_node(num_cpus=1, num_gpus=1, **variables)
        return subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", PLACE, nodes.address, wanted],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path.parent,
        )

    yield run
    for nodes in clusters:
        nodes.shutdown()


@pytest.mark.slow
def test_nodes_with_the_drivers_version_are_used(place):
    ended = place(None)
    assert ended.stdout.strip() == "placed", ended.stderr[-2000:]


@pytest.mark.slow
def test_another_version_is_named_with_its_node(place):
    ended = place("__version__ = '9.9.9'")
    sentence = ended.stderr.strip().splitlines()[-1]
    assert sentence.startswith("frpo_verl.verl_plugin.errors.HostError: frpo-verl 9.9.9 on ")
    assert f"), but {__version__} where the run was started; install the same version on every node" in sentence


@pytest.mark.slow
def test_a_node_without_it_is_named(place):
    ended = place("raise ModuleNotFoundError('no frpo_verl here')")
    sentence = ended.stderr.strip().splitlines()[-1]
    assert "HostError: frpo-verl cannot be imported on " in sentence
    assert "no frpo_verl here); install it there, into the environment that has verl" in sentence


@pytest.mark.slow
def test_a_run_without_the_term_does_not_ask(place):
    assert place("__version__ = '9.9.9'", wanted="grpo").stdout.strip() == "placed"
