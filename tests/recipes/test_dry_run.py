"""DRY_RUN=1: what a recipe would run and what it expects, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from composed import RECIPES

from frpo_verl.quickstart import tiny

pytestmark = [pytest.mark.slow, pytest.mark.verl]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Makes what is read of a model: its configuration and tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny.make_tokenizer()
    tokenizer.save_pretrained(folder)
    model = tiny.make_model(tokenizer, architecture="qwen3")
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    return folder


def dry(recipe: str, folder: Path, **knobs: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "RAY_TMPDIR") if name in os.environ}
    environment = {**kept, "PATH": path, "HOME": str(folder), "DRY_RUN": "1", "HF_HUB_OFFLINE": "1", **knobs}
    return subprocess.run(
        ["bash", RECIPES / recipe, "trainer.project_name=mine"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )


def test_the_configuration_and_the_memory_of_each_gpu(tmp_path, model):
    # Where Ray is elsewhere, what is not here may be there.
    run = dry("run_qwen3_4b_megatron.sh", tmp_path, MODEL_PATH=str(model), RAY_ADDRESS="auto")
    assert run.returncode == 0, run.stderr
    config = yaml.safe_load(run.stdout)
    assert config["algorithm"]["kl_ctrl"]["kl_coef"] == 0.01
    assert config["actor_rollout_ref"]["actor"]["strategy"] == "megatron"
    assert config["trainer"]["project_name"] == "mine"
    table = run.stderr.split("Memory per GPU, a rough lower bound: ")[1]
    assert [line.split()[0] for line in table.splitlines()[1:4]] == ["rollout", "log-probs", "update"]
    assert "of 80.0 GiB" in table
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_named_before_anything_is_loaded(tmp_path, model):
    run = dry("run_qwen3_1.7b_methods_fsdp2.sh", tmp_path, MODEL_PATH=str(model / "gone"), METHOD="no_kl")
    assert run.returncode == 1
    for what in ("data.train_files=", "data.val_files=", "actor_rollout_ref.model.path="):
        assert what in run.stderr
    assert "frpo-verl data" in run.stderr
