"""The trainer on verl's FSDP2 engine against plain autograd; dynamic batches, two ranks and LoRA against each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fpa_case
import pytest

pytest.importorskip("verl")
pytestmark = [pytest.mark.slow, pytest.mark.thorough]

PROGRAM = Path(__file__).parent / "real_trainer.py"


def launch(folder, cases, ranks=1, killed_after=None):
    """Trains cases, name -> (engine, overrides), in `ranks` processes; returns what `read` does of each."""
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "VERL_PLATFORM": "cpu",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TORCHDYNAMO_DISABLE": "1",
    }
    if killed_after is not None:
        environment["KILLED_AFTER"] = str(killed_after)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, "-P", "-W", "ignore", *torchrun, str(PROGRAM), str(folder / "cases.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert (ended.returncode == 0) == (killed_after is None), ended.stdout[-2000:] + ended.stderr[-5000:]
    if killed_after is not None:
        return {}
    return {name: read(folder / name) for name in cases}


def read(folder):
    """The metrics of every step, and the sum of squares of every parameter after the last."""
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [step["data"] for step in steps], json.loads((folder / "squares.json").read_text())


def overrides(made, loss="outcome", lam=1.0, steps=3, items=None, **more):
    items = items or len(fpa_case.items(made, pairs=loss != "outcome"))
    keys = {
        "model.path": made / "policy",
        "fpa.reference_path": made / "reference",
        "data.train_files": made / "graded.parquet",
        "data.train_batch_size": items,
        "data.max_length": 32,
        "data.pairs_per_prompt": "null",
        "data.use_dynamic_bsz": False,
        "data.micro_batch_size_per_gpu": items // 2,
        "trainer.total_epochs": 100,
        "trainer.total_training_steps": steps,
        "optim.lr": 1e-3,
        "fpa.loss": loss,
        "fpa.lam": lam,
        "fpa.beta": fpa_case.BETA,
        "fpa.alpha": fpa_case.ALPHA,
    }
    keys |= more
    return [f"{key}={value}" for key, value in keys.items()]


CASES = {
    f"{loss}-{lam:g}-{weighted}": (loss, lam, weighted)
    for loss, lam, weighted in [
        *((loss, lam, "both") for loss in fpa_case.LOSSES for lam in (0.0, 1.0)),
        ("outcome", 2.0, "negatives"),
        ("dpo", 2.0, "negatives"),
    ]
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return fpa_case.build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def alone(made, tmp_path_factory):
    cases = {
        name: ("fsdp2", overrides(made, loss, lam, **{"fpa.weighted": weighted}))
        for name, (loss, lam, weighted) in CASES.items()
    }
    for loss in ("outcome", "dpo"):
        dynamic = {"data.use_dynamic_bsz": True, "data.max_token_len_per_gpu": 40}
        cases[f"{loss}-dynamic"] = ("fsdp2", overrides(made, loss, **dynamic))
    cases["bound"] = ("fsdp2", overrides(made, "outcome", 2.0, **{"fpa.future": "without_normaliser"}))
    return launch(tmp_path_factory.mktemp("alone"), cases)


@pytest.mark.parametrize("name", CASES)
def test_the_first_step_is_that_of_plain_autograd(made, alone, name):
    expected = fpa_case.first_step(made, *CASES[name])
    first = alone[name][0][0]
    # float32, and most of the loss cancels between better and worse responses
    assert first["train/loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert first["train/grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("loss", ["outcome", "dpo"])
def test_dynamic_batches_change_nothing(alone, loss):
    _same(alone[f"{loss}-dynamic"], alone[f"{loss}-1-both"])


def _same(found, expected, rel=1e-4):
    """Holds that two runs had the same steps: losses, gradients, figures, and weights after the last."""
    for step, other in zip(found[0], expected[0], strict=True):
        names = [name for name in step if name.startswith("fpa/") or name in ("train/loss", "train/grad_norm")]
        assert {name: step[name] for name in names} == pytest.approx({name: other[name] for name in names}, rel=rel)
    assert found[1] == pytest.approx(expected[1], rel=rel)


def test_two_ranks_are_one(made, alone, tmp_path):
    cases = {
        f"{loss}-{how}": (
            "fsdp2",
            overrides(made, loss, **{**more, "data.micro_batch_size_per_gpu": 5}),
        )
        for loss in ("outcome", "dpo")
        for how, more in {
            "fixed": {},
            "dynamic": {"data.use_dynamic_bsz": True, "data.max_token_len_per_gpu": 40},
        }.items()
    }
    found = launch(tmp_path / "two", cases, ranks=2)
    for name, run in found.items():
        _same(run, alone[f"{name.split('-')[0]}-1-both"])


def test_the_reference_of_lora_is_the_policy_with_its_adapter_off(made, tmp_path):
    lora = {"model.lora_rank": 4, "model.lora_alpha": 16, "model.target_modules": "all-linear"}
    cases = {
        f"{loss}-{how}": ("fsdp2", overrides(made, loss, **lora, **{"fpa.reference_path": path}))
        for loss in ("outcome", "dpo")
        for how, path in {"off": "null", "second": made / "policy"}.items()
    }
    found = launch(tmp_path / "lora", cases)
    for loss in ("outcome", "dpo"):
        _same(found[f"{loss}-off"], found[f"{loss}-second"])
        assert found[f"{loss}-off"][0][2]["fpa/renyi_divergence_to_ref"] > 1e-5


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_is_kept_of_the_reference_does_for_dpo(made, alone, tmp_path, ranks):
    kept = {"fpa.reference_cache": tmp_path / "kept", "data.micro_batch_size_per_gpu": 5}
    cases = {
        # the second reads what the first has kept
        **{f"dpo-{i}": ("fsdp2", overrides(made, "dpo", 0.0, **kept)) for i in range(2)},
        "bound": ("fsdp2", overrides(made, "outcome", 2.0, **kept, **{"fpa.future": "without_normaliser"})),
    }
    found = launch(tmp_path / "cases", cases, ranks)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    for i in range(2):
        _same(found[f"dpo-{i}"], alone["dpo-0-both"])
    _same(found["bound"], alone["bound"])


LAYOUTS = {
    "tensor": {"packed": {"engine.tensor_model_parallel_size": 2}},
    "context": {"packed": {"engine.context_parallel_size": 2}},
    "data": {
        "packed": {"data.micro_batch_size_per_gpu": 5},
        "padded": {"data.micro_batch_size_per_gpu": 5, "model.use_remove_padding": False},
        "dynamic": {"data.use_dynamic_bsz": True, "data.max_token_len_per_gpu": 40},
    },
}
"""Megatron's layout, which is a process's for good -> how rows are put together -> overrides."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_megatron_is_fsdp(made, alone, tmp_path, layout):
    pytest.importorskip("megatron.core")
    cases = {
        f"{loss}-{rows}": ("megatron", overrides(made, loss, **{"model.use_remove_padding": True, **more}))
        for loss in ("outcome", "dpo")
        for rows, more in LAYOUTS[layout].items()
    }
    for name, (steps, _) in launch(tmp_path / layout, cases, ranks=2).items():
        expected = alone[f"{name.split('-')[0]}-1-both"][0]
        _same((steps[:1], {}), (expected[:1], {}))
        # Adam divides by small numbers, of which rounding is a part
        _same((steps, {}), (expected, {}), rel=2e-2)


@pytest.mark.parametrize("loss", ["outcome", "dpo"])
def test_what_is_killed_goes_on_with_the_same_updates(made, tmp_path, loss):
    # five steps an epoch, each with an order of its own: the second checkpoint is at an epoch's end
    few = overrides(made, loss, steps=13, items=len(fpa_case.items(made, loss != "outcome")) // 5)
    few += ["data.micro_batch_size_per_gpu=2", "trainer.save_freq=5", "optim.lr_warmup_steps=4"]
    few.append("optim.lr_scheduler_type=cosine")
    case, folder = {"run": ("fsdp2", few)}, tmp_path / "killed"
    whole, squares = launch(tmp_path / "whole", case)["run"]
    launch(folder, case, killed_after=7)
    launch(folder, case, killed_after=6)
    _same_steps(folder, whole[5:10])
    _, found = launch(folder, case)["run"]
    _same_steps(folder, whole[10:])
    assert found == squares


def _same_steps(folder, expected):
    """Holds that verl logged these steps to the last digit."""
    logged = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(logged) == len(expected)
    for step, other in zip(logged, expected, strict=True):
        names = [name for name in other if name.startswith(("fpa/", "train/"))]
        # time, and what this process has counted
        names = sorted(set(names) - {"train/mfu", "train/total_tokens(B)"})
        assert {name: step["data"][name] for name in names} == {name: other[name] for name in names}
