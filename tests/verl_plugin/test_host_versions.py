"""Runs the plugin's tests on every released verl that it claims to support, each in an environment of its own."""

import importlib.metadata
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from frpo_verl.preflight.contract import TESTED_VERL

pytestmark = [pytest.mark.thorough, pytest.mark.verl]

TESTS = Path(__file__).parents[1]
FILES = (
    "preflight/test_contract.py",
    "preflight/test_settings.py",
    "preflight/test_variants.py",
    "verl_plugin/ray/test_launch.py",
    "verl_plugin/test_control.py",
    "verl_plugin/test_estimator.py",
    "verl_plugin/test_every_estimator.py",
    "verl_plugin/test_figures.py",
    "verl_plugin/test_kl_loss.py",
    "verl_plugin/test_policy_losses.py",
    "verl_plugin/test_token_weights.py",
    "verl_plugin/test_worker.py",
)


def environment_with(version: str, folder: Path) -> Path:
    """Makes a virtual environment with one verl from the package index, and everything else from this one.

    Args:
        version: of verl.
        folder: where to make it.

    Returns:
        Its Python.
    """
    venv.create(folder, symlinks=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # Behind its own packages in the search path, so that its own verl is found first.
    shared = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "shared.pth").write_text("\n".join(shared))
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-qq", "--no-deps"]
    subprocess.run([*pip, "--target", str(packages), f"verl=={version}"], check=True, timeout=300)
    return folder / "bin" / "python"


def run(python: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "frpo_verl.verl_plugin", **variables}
    command = [str(python), "-P", "-W", "ignore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=TESTS.parent)


# The one that is installed here has all tests already.
@pytest.mark.parametrize("version", sorted({*TESTED_VERL} - {importlib.metadata.version("verl")}))
def test_the_plugins_tests_pass(version, tmp_path):
    python = environment_with(version, tmp_path / "venv")
    said = run(python, "-c", "import importlib.metadata as m, verl; print(m.version('verl'), verl.__file__)")
    assert said.stdout.split()[0] == version, said.stderr[-2000:]
    assert str(tmp_path) in said.stdout
    registered = (
        "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn; "
        "print(get_adv_estimator_fn('frpo').__module__)"
    )
    ended = run(python, "-c", registered, FRPO_VERL_STRICT="1")
    assert ended.stdout.strip() == "frpo_verl.verl_plugin.estimator", ended.stderr[-2000:]
    tests = run(python, "-m", "pytest", "-p", "no:cacheprovider", *(str(TESTS / file) for file in FILES), "-rs")
    print(tests.stdout[-1500:])
    assert tests.returncode == 0, tests.stdout[-4000:]
