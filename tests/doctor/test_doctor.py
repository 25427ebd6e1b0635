"""The command in fresh processes, as users run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import frpo_verl

pytest.importorskip("verl")

pytestmark = pytest.mark.slow

RUNS = (
    "algorithm.adv_estimator=frpo",
    "actor_rollout_ref.rollout.n=5",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
)


def doctor(*arguments: str, program: tuple[str, ...] = ("-m", "frpo_verl"), **environment: str):
    return subprocess.run(
        [sys.executable, "-P", "-W", "ignore", *program, "doctor", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "VERL_PLATFORM": "", **environment},
        timeout=180,
        # Ray's workers import from the driver's directory first: in a checkout, they would not use the wheel.
        cwd="/",
    )


def found(ended: subprocess.CompletedProcess) -> dict:
    return json.loads(ended.stdout)


def test_a_run_that_works_has_no_problems():
    # verl's default files may be on the cluster.
    ended = doctor("--no-ray", "--", *RUNS, RAY_ADDRESS="auto")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("No problems found.\n")
    assert "Traceback" not in ended.stderr


def test_json_is_alone_on_stdout():
    ended = doctor("--no-ray", "--json", "--", *RUNS, "algorithm.kl_penatly=k3")
    report = found(ended)
    assert (ended.returncode, report["ok"]) == (1, False)
    assert report["sections"]["Plugin, here"]["active"] == "yes"
    assert report["sections"]["Versions"]["verl"].startswith("0.9.")
    assert len(report["problems"]) == 1
    assert "the nearest is algorithm.kl_penalty" in report["problems"][0]


def test_an_excluded_plugin_is_found_inactive():
    report = found(doctor("--no-ray", "--json", VERL_USE_EXTERNAL_PLUGINS="none"))
    assert report["sections"]["Plugin, here"]["active"] == "no"
    assert report["sections"]["Plugin, here"]["route"] == "none"
    assert report["problems"][0].startswith(
        "here: importing verl does not load the plugin, since VERL_USE_EXTERNAL_PLU"
    )


def test_the_other_route_is_named():
    environment = {"VERL_USE_EXTERNAL_PLUGINS": "none", "VERL_USE_EXTERNAL_MODULES": "frpo_verl.verl_plugin"}
    ended = doctor("--no-ray", "--json", **environment)
    assert ended.returncode == 0
    assert found(ended)["sections"]["Plugin, here"]["route"] == "VERL_USE_EXTERNAL_MODULES"


def test_without_verl_there_is_a_sentence_and_no_traceback():
    program = "import sys; sys.modules['verl'] = None; from frpo_verl.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = doctor("--no-ray", "--json", "--", *RUNS, program=("-c", program))
    assert ended.returncode == 1
    assert found(ended)["problems"][0].startswith("here: verl cannot be imported (ModuleNotFoundError: ")
    assert "Traceback" not in ended.stderr


def test_a_bad_usage_behind_the_dashes_is_status_2():
    assert doctor("--no-ray", "--", "--nonsense").returncode == 2


def test_a_run_names_the_plugin_to_its_workers_where_entry_points_are_off(verls_defaults_are_there):
    variable = "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_PLUGINS=none"
    gpus = "++ray_kwargs.ray_init.num_gpus=8"
    report = found(doctor("--json", "--", *RUNS, variable, gpus, RAY_ADDRESS="local"))
    (state,) = [state for name, state in report["sections"]["Plugin, in Ray's workers"].items() if name != "address"]
    assert state.startswith("active by VERL_USE_EXTERNAL_MODULES, frpo-verl ")
    assert report["problems"] == []


@pytest.fixture
def cluster(tmp_path):
    """Two nodes; the second is without frpo-verl."""
    from ray.cluster_utils import Cluster

    # A package of the name that cannot be imported is what a node without it looks like to an import by reference.
    (tmp_path / "frpo_verl").mkdir()
    (tmp_path / "frpo_verl" / "__init__.py").write_text("raise ModuleNotFoundError('no frpo_verl here')")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(tmp_path)})
        yield nodes.address
    finally:
        nodes.shutdown()


def asked(cluster, *words):
    return found(doctor("--json", "--ray-address", cluster, "--ray-timeout", "120", *words))


def test_every_node_is_asked_and_one_without_frpo_verl_is_named(cluster):
    report = asked(cluster)
    rows = report["sections"]["Plugin, in Ray's workers"]
    assert len(rows) == 3 and rows["address"] == cluster
    assert sum(state.startswith("active by entry point, frpo-verl ") for state in rows.values()) == 1
    (problem,) = report["problems"]
    assert "frpo-verl is not installed (ModuleNotFoundError: no frpo_verl here)" in problem


@pytest.mark.thorough
def test_a_run_that_brings_it_has_it_on_every_node(cluster):
    package = Path(frpo_verl.__file__).parent
    brings = f"+ray_kwargs.ray_init.runtime_env.py_modules=[{package}]"
    report = asked(cluster, "--", *RUNS, brings)
    assert report["problems"] == []
    states = [state for name, state in report["sections"]["Plugin, in Ray's workers"].items() if name != "address"]
    assert len(states) == 2
    assert all("active by " in state and "VERL_USE_EXTERNAL_MODULES" in state for state in states)


def test_a_ray_that_does_not_answer_is_no_hang():
    report = found(doctor("--json", "--ray-address", "127.0.0.1:1", "--ray-timeout", "3"))
    assert report["problems"] == ["Ray at 127.0.0.1:1: no answer in 3 s; check that it runs, or give --ray-timeout"]
