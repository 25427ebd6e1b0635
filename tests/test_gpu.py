"""The script for machines with a GPU, as far as it goes without one."""

import json

import gpu
import pytest
import torch


def test_the_core_agrees_with_itself(tmp_path, capsys):
    gpu.core("cpu", tmp_path)
    assert int(capsys.readouterr().out.split()[0]) > 20


def test_a_wrong_result_is_found(monkeypatch, tmp_path):
    def computations():
        # As a GPU that computes float32 in fewer digits would.
        yield "sum", lambda device, dtype: torch.full((2,), 0.33 if dtype == torch.float32 else 1 / 3, dtype=dtype)

    monkeypatch.setattr(gpu, "computations", computations)
    with pytest.raises(AssertionError, match=r"sum, torch\.float32: 3\.3e-03"):
        gpu.core("cpu", tmp_path)


def test_what_is_not_installed_is_named_and_the_rest_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "present", lambda module: module in (*gpu.ON_THE_CORE, "pytest"))
    monkeypatch.setattr("sys.argv", ["gpu.py", "--device", "cpu", "--out", str(tmp_path / "new" / "gpu.json")])
    ended = gpu.outcome
    monkeypatch.setattr(gpu, "outcome", lambda part, device: ended(part._replace(command=quick), device))
    assert gpu.main() == 0
    said = capsys.readouterr().out
    assert "core's tests: not run, without hypothesis (0 s)" in said
    assert "real Megatron worker: not run, without verl, ray, " in said
    record = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert record["versions"]["torch"] == torch.__version__
    assert [part for part, found in record["parts"].items() if found["outcome"] == "passed"] == [
        "core against float64 on the CPU",
        "benchmark of the estimator",
    ]


def quick(device, folder):
    return ["true"]


def test_a_part_that_fails_or_hangs_costs_only_itself(tmp_path):
    part = gpu.Part("part", (), lambda device, folder: ["bash", "-c", "echo why; exit 3"])
    assert gpu.outcome(part, "cpu") | {"seconds": 0} == {"outcome": "failed", "seconds": 0, "output": "why\n"}
    long = gpu.outcome(part._replace(command=lambda device, folder: ["bash", "-c", "seq 100000; exit 1"]), "cpu")
    assert long["output"].split() == [str(number) for number in range(1, 100_001)]
    found = gpu.outcome(part._replace(command=lambda device, folder: ["sleep", "60"], seconds=1), "cpu")
    assert found["outcome"] == "failed"
    assert "no end in 1 s" in found["output"]


@pytest.mark.parametrize("norm", [4.5, [4.5]])
def test_verls_engines_give_the_norm_or_a_list_of_it(norm):
    assert gpu.norm_of({"grad_norm": norm}) == 4.5


def test_no_such_device_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(gpu, "is_there", lambda device: False)
    assert gpu.main() == 2
    assert capsys.readouterr().out.startswith("--device cuda: torch sees none here; give another")


def test_the_trainers_command_line_has_no_problem(tmp_path):
    pytest.importorskip("verl")
    from hydra import compose, initialize_config_module

    from frpo_verl.preflight import regulariser

    overrides = gpu.trainer_overrides(tmp_path, tmp_path, tmp_path)
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides)
    assert list(regulariser.problems(config)) == []
