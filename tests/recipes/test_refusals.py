"""Tests the one sentence by which a recipe refuses, before anything is loaded."""

import pytest
from composed import caught

RECIPE = "run_qwen3_1.7b_fsdp2.sh"


def refused(run) -> str:
    assert run.status == 2
    assert run.words == []
    sentence = run.said.strip()
    assert "\n" not in sentence
    return sentence


def test_another_verl_than_it_was_made_for(tmp_path):
    said = refused(caught(RECIPE, tmp_path, VERL="0.8.0"))
    assert said == (
        "frpo-verl: verl 0.9.1 is installed, VERL=0.8.0 is wanted and the recipe was made for 0.9.1; pip install "
        "verl==0.9.1, or set VERL=0.9.1 to run it anyway"
    )


def test_an_environment_without_frpo_verl(tmp_path):
    (tmp_path / "programs").mkdir()
    python = tmp_path / "programs" / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    said = refused(caught(RECIPE, tmp_path))
    assert said == (
        f"frpo-verl: {python} does not find both frpo-verl and verl; pip install path/to/frpo-verl into the "
        "environment that has verl 0.9.1, and activate it"
    )


@pytest.mark.parametrize(
    ("recipe", "knobs", "sentence"),
    [
        ("run_qwen3_1.7b_methods_fsdp2.sh", {"METHOD": "ppo"}, "METHOD=ppo: choose frpo, no_kl, kl_loss, "),
        ("run_qwen3_1.7b_methods_fsdp2.sh", {"LOSS_MODE": "ppo"}, "LOSS_MODE=ppo: choose vanilla, drpo, spo, drpo_"),
        ("run_qwen3_4b_megatron.sh", {"OFFLOAD": "no"}, "OFFLOAD=no: choose True or False"),
        (
            "run_qwen3_4b_fsdp2.sh",
            {"METHOD": "kl_loss"},
            "METHOD=kl_loss: this recipe has no METHOD; run_qwen3_1.7b_methods",
        ),
        (
            "run_cpu.sh",
            {"TOKEN_WEIGHT": "lambda_grpo"},
            "TOKEN_WEIGHT=lambda_grpo: this recipe has no TOKEN_WEIGHT; run",
        ),
        ("run_cpu.sh", {"METHOD": "grpo"}, "METHOD=grpo: choose frpo, no_kl or kl_loss"),
        ("run_cpu.sh", {"TRAINER": "async"}, "TRAINER=async: choose sync, colocate_async, "),
        ("run_cpu.sh", {"ENGINE": "fsdp"}, "ENGINE=fsdp: choose fsdp2 or megatron"),
        ("run_cpu.sh", {"DTYPE": "fp16"}, "DTYPE=fp16: choose float32 or bfloat16"),
    ],
)
def test_a_knob_that_has_no_such_value(tmp_path, recipe, knobs, sentence):
    files = {"MODEL_PATH": "model", "TRAIN_FILES": "train.parquet", "VAL_FILES": "val.parquet"}
    assert refused(caught(recipe, tmp_path, **files, **knobs)).startswith(f"frpo-verl: {sentence}")


def test_a_cluster_without_a_recipe(tmp_path):
    said = refused(caught("run_on_cluster.sh", tmp_path, "recipes/run_gone.sh"))
    assert said.startswith("frpo-verl: recipe 'recipes/run_gone.sh': no such file; ")


def test_slurm_without_slurm(tmp_path):
    assert refused(caught("slurm.sh", tmp_path, "recipes/run_it.sh")).startswith(
        "frpo-verl: not a Slurm job; use sbatch "
    )


def test_slurm_without_a_recipe(tmp_path):
    assert refused(caught("slurm.sh", tmp_path, SLURM_SUBMIT_DIR=str(tmp_path))).startswith(
        "frpo-verl: no recipe given; use sbatch "
    )
