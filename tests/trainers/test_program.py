"""The whole way by the recipe for a machine without a GPU: sample by vLLM, train on two ranks, validate, compare."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from frpo_verl import cli
from frpo_verl.evaluation.learned import learned
from frpo_verl.evaluation.runs import read_run

pytest.importorskip("verl")
pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "recipes" / "run_fpa_cpu.sh"
SOURCE, PROBLEMS, SAMPLES, HELD_OUT = "reasoning_gym/chain_sum", 160, 4, 40
STEPS, VAL_N = 2, 2


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "ignore"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [shutil.which("bash") or "bash", RECIPE],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=folder,
        env=environment | {"TINY": "1", "VAL_N": str(VAL_N), "METHODS": "outcome:1", "SEEDS": "1"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, folder / "runs" / "fpa-tiny"


@pytest.fixture(scope="module")
def trained(study):
    folder = study[1] / "outcome-1-seed-1"
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (folder / "trainer.log").read_text(), {step["step"]: step["data"] for step in steps}, folder


def test_every_problem_has_graded_responses_of_the_policy(study):
    from pyarrow import parquet

    rows = parquet.read_table(study[1] / "graded.parquet").to_pylist()
    assert len({str(row["prompt"]) for row in rows}) == PROBLEMS
    for row in rows:
        assert set(row["scores"]) <= {0.0, 1.0}
        assert len(row["responses"]) == len(row["scores"]) == len(row["response_ids"]) == SAMPLES
        for ids, said in zip(row["response_ids"], row["log_probs"], strict=True):
            assert len(ids) == len(said) <= 16 and max(said) <= 0
    assert 0 < sum(sum(row["scores"]) for row in rows) < sum(len(row["scores"]) for row in rows)


def test_every_step_is_logged_and_the_first_line_says_what_runs(trained):
    said, steps, _ = trained
    assert sorted(steps) == [0, *range(1, STEPS + 1)]
    assert f" responses to {PROBLEMS} prompts" in said
    assert "outcome, weights of the future policy, lambda 1" in said
    for step in range(1, STEPS + 1):
        assert steps[step]["train/grad_norm"] > 0
        assert f"step:{step} - " in said


def test_validation_comes_before_the_first_step_and_after_the_last(trained):
    _, steps, folder = trained
    validated = [step for step, data in steps.items() if f"val-core/{SOURCE}/reward/mean@{VAL_N}" in data]
    assert validated == [0, STEPS]
    for step in validated:
        lines = (folder / "validation" / f"{step}.jsonl").read_text().splitlines()
        scores = [json.loads(line)["score"] for line in lines]
        assert len(scores) == VAL_N * HELD_OUT
        assert steps[step][f"val-core/{SOURCE}/reward/mean@{VAL_N}"] == pytest.approx(sum(scores) / len(scores))


def test_what_is_sampled_is_the_policy_of_that_step(trained):
    # the reference is the policy at the start
    _, steps, _ = trained
    assert steps[0]["fpa/divergence_to_ref/token_mean"] == pytest.approx(0, abs=1e-6)
    assert steps[STEPS]["fpa/divergence_to_ref/token_mean"] > 1e-4
    assert all(steps[step]["fpa/sampled_entropy/token_mean"] > 0 for step in (0, STEPS))


def test_the_report_reads_the_run(study, trained):
    said, folder = study
    found = learned(read_run(trained[2]))
    assert found.title == "tiny on one_digit_sums_held_out, estimator outcome, lambda 1"
    before, after = found.pass_at_1.before.value, found.pass_at_1.after.value
    (row,) = [line for line in said.splitlines() if line.startswith("held-out pass@1")]
    assert row in (folder / "learned.md").read_text()
    assert [word for word in row.split() if word in (f"{before:.3f}", f"{after:.3f}")] == [
        f"{before:.3f}",
        f"{after:.3f}",
    ]
    assert found.divergence.after.value > found.divergence.before.value
    assert (folder / "report.html").exists()


def test_the_evaluation_of_the_run_says_what_was_logged(trained, tmp_path):
    _, steps, folder = trained
    assert cli.main(["eval", str(folder), "--steps", ":", "--json", str(tmp_path / "o.json")]) == 0
    found = json.loads((tmp_path / "o.json").read_text())["results"]
    means = {each["step"]: each["value"] for each in found if each["quantity"] == "mean@k"}
    logged = f"val-core/{SOURCE}/reward/mean@{VAL_N}"
    assert means == pytest.approx({step: data[logged] for step, data in steps.items() if logged in data})
