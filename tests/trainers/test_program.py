"""The whole way by the programs themselves: sample by vLLM, grade, train on two ranks, validate, report."""

import json
import os
import subprocess
import sys

import fpa_case
import pytest

from frpo_verl.evaluation.learned import read_run

pytest.importorskip("verl")
pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    return float(len(solution_str) % 2 == int(ground_truth))
"""
STEPS, PROMPTS, SAMPLES = 4, 12, 4
VLLM = {"dtype": "float32", "enforce_eager": True}
# Of recipes/lib/cpu.sh.
ENVIRONMENT = {
    "VERL_PLATFORM": "cpu",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "passive",
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "TORCHDYNAMO_DISABLE": "1",
}


def run(folder, *command):
    """Runs a module of the package to its end and returns what it printed."""
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
    environment["VERL_FILE_LOGGER_PATH"] = str(folder / "run" / "metrics.jsonl")
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        env=environment,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    return ended.stdout


def prompts(folder):
    """Writes prompts as verl's RL trainers read them."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [
        {
            "prompt": [{"role": "user", "content": f"{i}"}],
            "data_source": "lengths",
            "reward_model": {"ground_truth": "0"},
        }
        for i in range(PROMPTS)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "prompts.parquet")
    return rows


def graded(folder, rows):
    """Samples from the policy by the sampler's program, and writes what the trainer reads."""
    import pyarrow as pa
    from pyarrow import parquet

    from frpo_verl.trainers import sampling

    spec = sampling.Spec(
        model=str(folder / "policy"),
        prompts=str(folder / "prompts.parquet"),
        out=str(folder / "samples.jsonl"),
        n=SAMPLES,
        max_tokens=6,
        engine=VLLM,
    )
    (folder / "spec.json").write_text(json.dumps(spec._asdict()))
    assert f"sampled {PROMPTS}" in run(folder, "frpo_verl.trainers.sampling", str(folder / "spec.json"))
    lines = sampling.read(folder / "samples.jsonl")
    assert [line["row"] for line in lines] == list(range(PROMPTS))
    assert all(len(line["responses"]) == SAMPLES for line in lines)
    for line in lines:
        for ids, said in zip(line["response_ids"], line["log_probs"], strict=True):
            assert len(ids) == len(said) <= 6 and max(said) <= 0
    scores = [[float(len(text) % 2 == 0) for text in line["responses"]] for line in lines]
    columns = {"prompt": [row["prompt"] for row in rows], "scores": scores}
    columns |= {name: [line[name] for line in lines] for name in ("responses", "prompt_ids", "response_ids")}
    parquet.write_table(pa.table(columns), folder / "graded.parquet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    fpa_case.build(folder)
    rows = prompts(folder)
    graded(folder, rows)
    (folder / "reward.py").write_text(REWARD)
    (folder / "run").mkdir()
    keys = {
        "model.path": folder / "policy",
        "data.train_files": folder / "graded.parquet",
        "data.val_files": folder / "prompts.parquet",
        "reward.custom_reward_function.path": folder / "reward.py",
        "data.train_batch_size": 8,
        "data.max_length": 64,
        "data.max_token_len_per_gpu": 256,
        "validation.n": 2,
        "validation.max_response_length": 6,
        "validation.max_prompt_length": 32,
        "+validation.engine_kwargs.dtype": "float32",
        "+validation.engine_kwargs.enforce_eager": True,
        "optim.lr": 1e-3,
        "trainer.n_gpus_per_node": 2,
        "trainer.total_training_steps": STEPS,
        "trainer.test_freq": -1,
        "trainer.default_local_dir": folder / "run",
        "hydra.run.dir": folder / "hydra",
    }
    words = [f"{key}={value}" for key, value in keys.items()]
    words = [*fpa_case.ENGINES["fsdp2"], *fpa_case.CPU, *words, "trainer.logger=[console,file]"]
    (folder / "run" / "command.txt").write_text(" ".join(["python -m frpo_verl.trainers.fpa", *words]))
    said = run(folder, "frpo_verl.trainers.fpa", *words)
    steps = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return said, {step["step"]: step["data"] for step in steps}, folder


def test_every_step_is_logged_and_the_first_line_says_what_runs(trained):
    said, steps, _ = trained
    assert sorted(steps) == [0, *range(1, STEPS + 1)]
    assert f"{PROMPTS * SAMPLES} responses to {PROMPTS} prompts" in said
    assert "outcome, weights of the future policy, lambda 1" in said
    for step in range(1, STEPS + 1):
        assert steps[step]["train/grad_norm"] > 0
        assert f"step:{step} - " in said


def test_validation_comes_before_the_first_step_and_after_the_last(trained):
    _, steps, folder = trained
    validated = [step for step, data in steps.items() if "val-core/lengths/reward/mean@2" in data]
    assert validated == [0, STEPS]
    for step in validated:
        lines = (folder / "run" / "validation" / f"{step}.jsonl").read_text().splitlines()
        scores = [json.loads(line)["score"] for line in lines]
        assert len(scores) == 2 * PROMPTS
        assert steps[step]["val-core/lengths/reward/mean@2"] == pytest.approx(sum(scores) / len(scores))


def test_what_is_sampled_is_the_policy_of_that_step(trained):
    # the reference is the policy at the start
    _, steps, _ = trained
    assert steps[0]["fpa/divergence_to_ref/token_mean"] == pytest.approx(0, abs=1e-6)
    assert steps[STEPS]["fpa/divergence_to_ref/token_mean"] > 1e-4
    assert all(steps[step]["fpa/sampled_entropy/token_mean"] > 0 for step in (0, STEPS))


def test_the_report_reads_the_run(trained):
    _, _, folder = trained
    found = read_run(folder / "run")
    assert found.title == "policy on prompts, estimator outcome, lambda 1"
    assert found.pass_at_1.before.step == 0 and found.pass_at_1.after.step == STEPS
    assert found.divergence.after.value > found.divergence.before.value
    assert found.entropy.after is not None


def test_a_run_with_problems_ends_with_all_of_them_before_anything_starts(tmp_path):
    words = ["model.path=/none", "fpa.lam=-1", "data.train_files=/none.parquet", "trainer.n_gpus_per_node=2"]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", "frpo_verl.trainers.fpa", *words, f"hydra.run.dir={tmp_path}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert ended.returncode != 0
    assert "fpa.lam=-1: it must not be negative" in ended.stderr and "model.path=/none: there is no" in ended.stderr
    assert "Traceback" not in ended.stderr
