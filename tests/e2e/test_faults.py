"""A worker that cannot import the plugin ends the run. What breaks later is in the runs of the other files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from assertions import WITHIN_SECONDS

pytestmark = pytest.mark.slow

DRIVER = """
import ray
from frpo_verl.preflight import environment

@ray.remote
class Worker:
    def __init__(self):
        import verl

    def answer(self):
        return "trained without the plugin"

ray.init(address="local", num_cpus=1, include_dashboard=False, runtime_env={"env_vars": environment.of_frpo_workers()})
print(ray.get(Worker.remote().answer.remote()))
"""


def test_a_worker_on_which_the_plugin_is_not_installed_dies_by_name(tmp_path):
    marker = tmp_path / "fault"
    variables = {
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(Path(__file__).parent / "faults"), os.environ.get("PYTHONPATH")))
        ),
        "VERL_USE_EXTERNAL_MODULES": "plugin_missing",
        "FAULT_MARKER": str(marker),
    }
    command = [sys.executable, "-P", "-W", "ignore", "-c", DRIVER]
    environment = {**os.environ, **variables}
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert time.time() - marker.stat().st_mtime < WITHIN_SECONDS
    assert ended.returncode != 0
    assert "No module named 'frpo_verl'" in ended.stderr
    assert "trained without the plugin" not in ended.stdout
