"""What the CPU platform refuses before Ray starts."""

import json
import socket
import struct

import pytest
from omegaconf import OmegaConf

from frpo_verl.verl_plugin.cpu import memory, preflight
from frpo_verl.verl_plugin.errors import SettingsError

GOOD = {
    "trainer": {"device": "cpu", "nnodes": 1, "n_gpus_per_node": 1},
    "data": {"max_prompt_length": 48, "max_response_length": 16},
    "actor_rollout_ref": {
        "model": {"path": "/nowhere", "use_remove_padding": False},
        "actor": {"strategy": "fsdp2", "ppo_micro_batch_size_per_gpu": 32},
        "ref": {"strategy": "fsdp2"},
        "rollout": {"name": "vllm", "dtype": "bfloat16", "free_cache_engine": False, "enable_sleep_mode": False},
    },
    "ray_kwargs": {"ray_init": {"num_gpus": 1, "num_cpus": 12}},
}


def config(**changes):
    merged = OmegaConf.create(GOOD)
    for key, value in changes.items():
        OmegaConf.update(merged, key.replace("__", "."), value, force_add=True)
    return merged


def refused(**changes) -> str:
    with pytest.raises(SettingsError) as error:
        preflight.check(config(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_recipes_settings_pass():
    preflight.check(config())


@pytest.mark.parametrize("requirement", preflight.REQUIREMENTS, ids=lambda requirement: requirement.key)
def test_each_required_key_is_named_with_its_value_and_the_flag(requirement):
    said = refused(**{requirement.key: "wrong"})
    assert said == f"{requirement.key}=wrong: {requirement.reason}; set {requirement.flag}"


def test_too_few_logical_places_are_named():
    said = refused(trainer__n_gpus_per_node=2)
    assert said.startswith("ray_kwargs.ray_init.num_gpus=1: ")
    assert said.endswith("set +ray_kwargs.ray_init.num_gpus=2 (no GPU is used)")


def test_a_running_cluster_decides_its_own_places(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    preflight.check(config(trainer__n_gpus_per_node=2))


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(ray_kwargs__ray_init__dashboard_port=port)
    assert said.startswith(f"ray_kwargs.ray_init.dashboard_port={port}: the port cannot be used (")


def test_a_temporary_directory_that_is_a_file_is_named(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("in use")
    said = refused(ray_kwargs__ray_init___temp_dir=str(taken))
    assert said.startswith(f"Ray's temporary directory {taken}: ") or "too long a path" in said
    assert said.endswith("set RAY_TMPDIR to a directory with a short path that you can write to")


def test_a_path_too_long_for_sockets_is_named(tmp_path):
    said = refused(ray_kwargs__ray_init___temp_dir="/tmp/" + "deep/" * 20)
    assert "too long a path for its sockets" in said


def test_a_full_disk_is_named(monkeypatch):
    monkeypatch.setattr(preflight, "FREE_DISK_BYTES", 1 << 60)
    assert "GiB are free" in refused()


def write_model(folder, parameters: int) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [parameters // 10, 10], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (folder / "config.json").write_text(json.dumps({"vocab_size": 1000}))


def test_the_size_of_a_model_is_read_from_its_headers(tmp_path):
    write_model(tmp_path, 12_340)
    assert memory.model_size(tmp_path) == memory.ModelSize(parameters=12_340, vocabulary=1000)


def test_a_model_that_is_not_there_is_verls_business():
    assert memory.model_size(preflight.Path("/nowhere")) is None


def test_a_model_too_large_for_the_machine_is_named(tmp_path):
    write_model(tmp_path, 10**12)
    said = refused(actor_rollout_ref__model__path=str(tmp_path))
    assert said.startswith(f"actor_rollout_ref.model.path={tmp_path}: this run needs about ")
    assert "(1000000 M parameters)" in said


def test_the_estimate_grows_with_the_model_the_ranks_and_the_micro_batch():
    size = memory.ModelSize(10**8, 50_000)
    base = memory.estimate(config(), size)
    assert memory.estimate(config(), memory.ModelSize(2 * 10**8, 50_000)) > base
    assert memory.estimate(config(trainer__n_gpus_per_node=2), size) > base
    assert memory.estimate(config(actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=64), size) > base


def test_the_available_memory_is_positive_and_at_most_the_machines():
    import psutil

    assert 0 < memory.available_bytes() <= psutil.virtual_memory().total
