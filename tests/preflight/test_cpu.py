"""Tests the refusals of the CPU platform before Ray starts."""

import json
import os
import socket
import struct
import tempfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from frpo_verl.preflight import cpu, cpu_memory, machine
from frpo_verl.preflight.errors import HostError

GOOD = {
    "trainer": {"device": "cpu", "nnodes": 1, "n_gpus_per_node": 1},
    "data": {"max_prompt_length": 48, "max_response_length": 16},
    "actor_rollout_ref": {
        "model": {"path": "/nowhere", "use_remove_padding": False},
        "actor": {"strategy": "fsdp2", "ppo_micro_batch_size_per_gpu": 32},
        "ref": {"strategy": "fsdp2"},
        "rollout": {
            "name": "vllm",
            "dtype": "bfloat16",
            "free_cache_engine": False,
            "enable_sleep_mode": False,
            "tensor_model_parallel_size": 1,
            "checkpoint_engine": {"update_weights_bucket_megabytes": 128},
        },
    },
    "ray_kwargs": {"ray_init": {"num_gpus": 1, "num_cpus": 12}},
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No lock of this test session may stand in the way of a run, nor a run in the way of these tests."""
    monkeypatch.setattr(machine, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(machine, "_held_lock", None)
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def config(**changes):
    merged = OmegaConf.create(GOOD)
    for key, value in changes.items():
        OmegaConf.update(merged, key.replace("__", "."), value, merge=False, force_add=True)
    return merged


def problems(**changes) -> list[str]:
    changed = config(**changes)
    return [*cpu.problems(changed), *machine.problems(changed)]


def refused(**changes) -> str:
    (problem,) = problems(**changes)
    assert "\n" not in problem
    return problem


def test_the_recipes_settings_pass():
    assert problems() == []


def test_all_problems_are_named_at_once():
    found = problems(
        trainer__device="cuda",
        actor_rollout_ref__rollout__free_cache_engine=True,
        ray_kwargs__ray_init__num_gpus=0,
        ray_kwargs__ray_init__dashboard_port=70000,
    )
    assert [problem.split("=")[0] for problem in found] == [
        "trainer.device",
        "actor_rollout_ref.rollout.free_cache_engine",
        "ray_kwargs.ray_init.num_gpus",
        "ray_kwargs.ray_init.dashboard_port",
    ]


def test_a_machine_with_a_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H100")
    assert refused() == (
        "VERL_PLATFORM=cpu: this machine has NVIDIA H100, and the CPU platform is for machines without a GPU; unset "
        "VERL_PLATFORM"
    )


ON_MEGATRON = {
    "actor_rollout_ref.actor.strategy": "megatron",
    "actor_rollout_ref.ref.strategy": "megatron",
    "actor_rollout_ref.actor.megatron": {
        "vanilla_mbridge": True,
        "use_distributed_optimizer": True,
        "param_offload": False,
        "optimizer_offload": False,
    },
    "actor_rollout_ref.ref.megatron": {"param_offload": False},
    "actor_rollout_ref.model.lora": {"rank": 0},
}


def test_megatron_passes_packed_and_padded():
    for packed in (True, False):
        assert problems(**ON_MEGATRON, actor_rollout_ref__model__use_remove_padding=packed) == []


@pytest.mark.parametrize("requirement", [*cpu.REQUIREMENTS, *cpu.OF_FSDP2], ids=lambda requirement: requirement.key)
def test_each_required_key_is_named_with_its_value_and_the_flag(requirement):
    said = refused(**{requirement.key: "wrong"})
    assert said == f"{requirement.key}=wrong: {requirement.reason}; set {requirement.flag}"


@pytest.mark.parametrize("requirement", cpu.OF_MEGATRON, ids=lambda requirement: requirement.key)
def test_each_key_that_megatron_requires_is_named(requirement):
    said = refused(**{**ON_MEGATRON, requirement.key: "wrong"})
    assert said == f"{requirement.key}=wrong: {requirement.reason}; set {requirement.flag}"


def test_another_engine_is_named_with_the_two_that_run():
    said = refused(actor_rollout_ref__actor__strategy="fsdp")
    assert said.startswith("actor_rollout_ref.actor.strategy=fsdp: the CPU platform runs FSDP2 and Megatron; set ")


def test_too_few_logical_places_are_named():
    said = refused(trainer__n_gpus_per_node=2)
    assert said.startswith("ray_kwargs.ray_init.num_gpus=1: ")
    assert said.endswith("set +ray_kwargs.ray_init.num_gpus=2 (no GPU is used)")


A_POOL = {"rollout": {"nnodes": 1, "n_gpus_per_node": 2}}
BY_THE_CPU = "actor_rollout_ref.rollout.checkpoint_engine.backend"


def test_places_of_a_pool_are_counted_too():
    said = refused(**A_POOL, **{BY_THE_CPU: "cpu"})
    assert said.startswith("ray_kwargs.ray_init.num_gpus=1: ")
    assert said.endswith("set +ray_kwargs.ray_init.num_gpus=3 (no GPU is used)")
    assert problems(**A_POOL, **{BY_THE_CPU: "cpu"}, ray_kwargs__ray_init__num_gpus=3) == []


def test_a_pool_is_reached_without_an_accelerator():
    said = refused(**A_POOL, **{BY_THE_CPU: "nccl"}, ray_kwargs__ray_init__num_gpus=3)
    assert said == f"{BY_THE_CPU}=nccl: it needs an accelerator; set {BY_THE_CPU}=cpu, which this plugin brings"


def test_weights_that_wait_for_a_pool_are_whole():
    sharded = {"actor_rollout_ref.actor.fsdp_config": {"reshard_after_forward": False}}
    late = {"async_training": {"trigger_parameter_sync_step": 2}}
    pool = {**A_POOL, BY_THE_CPU: "cpu", "ray_kwargs.ray_init.num_gpus": 3}
    said = refused(**pool, **sharded, **late)
    assert said.startswith("actor_rollout_ref.actor.fsdp_config.reshard_after_forward=False with several updates ")
    assert problems(**pool, **sharded) == []


def test_a_running_cluster_and_places_of_our_own_contradict(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert refused().startswith("RAY_ADDRESS=127.0.0.1:6379: a running Ray cluster has resources of its own")


def test_a_running_cluster_decides_its_own_places(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    none = {"ray_kwargs__ray_init__num_gpus": None, "ray_kwargs__ray_init__num_cpus": None}
    assert problems(trainer__n_gpus_per_node=2, **none) == []


def test_a_second_run_on_the_machine_is_refused_while_the_first_lasts():
    machine.hold()
    machine.hold()
    assert problems() == []
    held, machine._held_lock = machine._held_lock, None
    sentence = refused()
    assert sentence.startswith(f"{machine.LOCK}: another run holds this machine's CPU platform")
    with pytest.raises(HostError) as error:
        machine.hold()
    assert str(error.value) == sentence
    os.close(held)
    assert problems() == []


def test_looking_holds_nothing_and_makes_nothing(short_path):
    assert problems(ray_kwargs__ray_init___temp_dir=str(short_path / "r" / "ray")) == []
    assert list(short_path.iterdir()) == []
    assert not machine.LOCK.exists()
    machine.hold()


def test_too_little_shared_memory_is_named():
    said = refused(actor_rollout_ref__rollout__checkpoint_engine__update_weights_bucket_megabytes=10**9)
    assert said.startswith("/dev/shm: ")
    assert "--shm-size" in said


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(ray_kwargs__ray_init__dashboard_port=port)
    assert said.startswith(f"ray_kwargs.ray_init.dashboard_port={port}: the port cannot be used (")


FIX = "set RAY_TMPDIR to a directory with a short path that you can write to"


@pytest.fixture
def short_path():
    """pytest's own temporary directories have paths too long for Ray's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="f") as folder:
        yield Path(folder)


def test_a_temporary_directory_that_is_a_file_is_named(short_path):
    taken = short_path / "t"
    taken.write_text("in use")
    assert refused(ray_kwargs__ray_init___temp_dir=str(taken)) == (
        f"Ray's temporary directory {taken}: {taken} is not a directory that you can write to; {FIX}"
    )


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_rays_own_order_of_variables_is_followed(monkeypatch, short_path, variable):
    (short_path / "ray").write_text("in use")
    monkeypatch.setenv(variable, str(short_path))
    there = f"{short_path}/ray"
    assert refused() == f"Ray's temporary directory {there}: {there} is not a directory that you can write to; {FIX}"


def test_a_path_too_long_for_sockets_is_named():
    said = refused(ray_kwargs__ray_init___temp_dir="/tmp/" + "deep/" * 20)
    assert "the path is too long for its sockets" in said


def test_a_port_that_is_no_port_is_named():
    assert refused(ray_kwargs__ray_init__dashboard_port=70000).startswith("ray_kwargs.ray_init.dashboard_port=70000: ")


def test_a_full_disk_is_named(monkeypatch):
    monkeypatch.setattr(machine, "FREE_DISK_BYTES", 1 << 60)
    assert "GiB are free" in refused()


def write_model(folder, parameters: int) -> None:
    shape, end = [parameters // 10, 10], 4 * parameters
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        # A hole: nothing of it is on the disk.
        file.truncate(8 + len(header) + end)
    (folder / "config.json").write_text(json.dumps({"vocab_size": 1000}))


def test_the_size_of_a_model_is_read_from_its_headers(tmp_path):
    write_model(tmp_path, 12_340)
    assert cpu_memory.model_size(tmp_path) == cpu_memory.ModelSize(parameters=12_340, vocabulary=1000)


def test_a_model_that_is_not_there_is_verls_business():
    assert cpu_memory.model_size("/nowhere") is None


def test_a_model_too_large_for_the_machine_is_named(tmp_path):
    write_model(tmp_path, 10**11)
    said = refused(actor_rollout_ref__model__path=str(tmp_path))
    assert said.startswith(f"actor_rollout_ref.model.path={tmp_path}: this run needs about ")
    assert "(100000 M parameters)" in said


def test_the_estimate_grows_with_the_model_the_ranks_and_the_micro_batch():
    size = cpu_memory.ModelSize(10**8, 50_000)
    base = cpu_memory.estimate(config(), size)
    assert cpu_memory.estimate(config(), cpu_memory.ModelSize(2 * 10**8, 50_000)) > base
    assert cpu_memory.estimate(config(trainer__n_gpus_per_node=2), size) > base
    assert cpu_memory.estimate(config(**A_POOL), size) > base
    assert cpu_memory.estimate(config(actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=64), size) > base


def test_a_control_groups_limit_counts_less_its_reclaimable_cache(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 600\n")
    monkeypatch.setattr(cpu_memory, "CONTROL_GROUP", tmp_path)
    assert cpu_memory.available_bytes() == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert cpu_memory.available_bytes() > 1000


def test_the_available_memory_is_positive_and_at_most_the_machines():
    import psutil

    assert 0 < cpu_memory.available_bytes() <= psutil.virtual_memory().total
