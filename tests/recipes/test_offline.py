"""The recipes of the offline trainer: what they compose, and how the study on a CPU goes on where it was stopped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from composed import RECIPES, caught, composed

from frpo_verl.quickstart import task, tiny
from frpo_verl.trainers import examination

pytestmark = pytest.mark.verl

ON_GPUS, STUDY = "run_qwen2.5_math_7b_fpa_fsdp2.sh", "run_fpa_cpu.sh"
ONE = {"METHODS": "outcome:1", "SEEDS": "1"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model without weights, its task, and responses that somebody has graded."""
    from pyarrow import Table, parquet

    folder = tmp_path_factory.mktemp("files")
    tokenizer = tiny.make_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny.make_model(tokenizer).config.save_pretrained(folder)
    train, held_out = task.write(folder, train_rows=160)
    rows = [{"prompt": f"{n}", "responses": ["1", "2"] * 4, "scores": [1.0, 0.0] * 4} for n in range(64)]
    parquet.write_table(Table.from_pylist(rows), folder / "graded.parquet")
    return {"MODEL_PATH": folder, "TRAIN_FILES": train, "VAL_FILES": held_out, "GRADED": folder / "graded.parquet"}


def before(folder: Path) -> list[str]:
    """The words of what a recipe ran before the trainer."""
    return (folder / "command-before").read_text().splitlines()


@pytest.mark.parametrize("method", ["outcome", "dpo", "rpo", "simper"])
def test_the_trainer_finds_nothing_wrong_with_what_is_composed(tmp_path, files, method):
    knobs = {name: str(path) for name, path in files.items()}
    config = composed(caught(ON_GPUS, tmp_path, METHOD=method, **knobs))
    assert examination.examine(config, 8).problems == []
    assert (config.fpa.loss, config.fpa.lam, config.fpa.weighted, config.fpa.future) == (method, 1, "both", "exact")
    # as many responses in a step
    assert config.data.train_batch_size == (128 if method == "outcome" else 64)
    assert config.data.max_length == 4096 and config.data.max_token_len_per_gpu >= 2 * 4096
    assert (config.trainer.n_gpus_per_node, config.engine.strategy) == (8, "fsdp2")
    assert (config.validation.n, config.validation.temperature) == (8, 0.7)
    assert config.trainer.validation_data_dir == str(tmp_path / "run" / "validation")


def test_the_responses_are_sampled_from_the_policy_and_are_what_is_trained_on(tmp_path):
    run = caught(ON_GPUS, tmp_path, MODEL_PATH="a/b", LAMBDA="0.5", SEED="3")
    config, words = composed(run), before(tmp_path)
    assert words[:4] == ["-P", "-m", "frpo_verl", "offline-data"]
    said = dict(zip(words[5::2], words[6::2], strict=True))
    assert words[4] == config.data.train_files == str(tmp_path / "runs" / "graded" / "a_b-16-3.parquet")
    assert (said["--model"], said["--seed"], said["--n"]) == (config.model.path, "3", "16") == ("a/b", "3", "16")
    assert said["--reward"] == config.reward.custom_reward_function.path == "pkg://frpo_verl.rewards.math"
    assert int(said["--max-prompt-tokens"]) + int(said["--max-tokens"]) == config.data.max_length
    assert (config.fpa.lam, config.data.seed) == (0.5, 3)


@pytest.mark.parametrize(("recipe", "knobs"), [(ON_GPUS, {}), (STUDY, ONE)])
def test_what_the_user_adds_comes_last(tmp_path, recipe, knobs):
    assert caught(recipe, tmp_path, "fpa.alpha=0.5", **knobs).words[-1] == "fpa.alpha=0.5"


def test_a_method_that_there_is_not(tmp_path):
    said = caught(ON_GPUS, tmp_path, METHOD="kto")
    assert said.status == 2
    assert said.said.strip() == "frpo-verl: METHOD=kto: choose outcome, dpo, rpo or simper"


def test_the_study_is_of_the_quickstarts_model_and_task(tmp_path, files):
    config = composed(caught(STUDY, tmp_path, **ONE))
    assert before(tmp_path)[:4] == ["-P", "-m", "frpo_verl.quickstart.inputs", "smollm2"]
    assert config.model.path == str(tmp_path / "runs" / "models" / "smollm2")
    config.model.path, config.data.val_files = str(files["MODEL_PATH"]), str(files["VAL_FILES"])
    config.data.train_files = str(files["GRADED"])
    assert examination.examine(config, 1).problems == []
    assert (config.trainer.device, config.trainer.save_freq, config.trainer.test_freq) == ("cpu", -1, -1)
    assert config.trainer.total_training_steps == 8
    small = composed(caught(STUDY, tmp_path, TINY="1", **ONE))
    assert small.model.path == str(tmp_path / "runs" / "models" / "tiny")
    assert (small.trainer.n_gpus_per_node, small.trainer.total_training_steps) == (2, 2)


PYTHON = """#!/bin/sh
# In place of the programs: the trainer writes what a run leaves behind.
case "$*" in
    *frpo_verl.trainers.fpa*)
        words=$*
        [ "${words#*fpa.loss=$FAILS}" = "$words" ] || { echo boom; exit 3; }
        echo "$VERL_FILE_LOGGER_PATH" >> trained
        folder=$(dirname "$VERL_FILE_LOGGER_PATH")
        mkdir -p "$folder/validation"
        : > "$VERL_FILE_LOGGER_PATH"
        case "$*" in *val_before_train=True*)
            echo '{"step":0,"data":{"fpa/sampled_entropy/token_mean":0.5}}' >> "$VERL_FILE_LOGGER_PATH"
            echo '{"input":"p","output":"","score":0.0}' > "$folder/validation/0.jsonl" ;;
        esac
        echo '{"step":2,"data":{"fpa/sampled_entropy/token_mean":0.25}}' >> "$VERL_FILE_LOGGER_PATH"
        echo '{"input":"p","output":"","score":1.0}' > "$folder/validation/2.jsonl" ;;
    *offline-data*) echo "$5" >> sampled; touch "$5" ;;
    *quickstart.inputs*) ;;
    *) exec PROGRAM "$@" ;;
esac
"""


@pytest.fixture
def study(tmp_path):
    """Runs the recipe with these knobs, and returns its status, what it said, and the runs that it trained."""
    (tmp_path / "python").write_text(PYTHON.replace("PROGRAM", sys.executable))
    (tmp_path / "python").chmod(0o755)

    def run(*overrides: str, **knobs: str):
        for name in ("trained", "sampled"):
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).touch()
        path = f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [shutil.which("bash") or "bash", RECIPES / STUDY, *overrides]
        environment = {**os.environ, "PATH": path, "FAILS": "none", **knobs}
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        trained = [Path(line).parent.name for line in (tmp_path / "trained").read_text().splitlines()]
        return ended.returncode, ended.stdout + ended.stderr, trained

    return run


def test_a_study_samples_once_and_ends_with_the_methods_before_and_after(study, tmp_path):
    pytest.importorskip("matplotlib")
    status, said, trained = study(METHODS="outcome:0 dpo:1", SEEDS="1 2")
    assert status == 0, said
    assert trained == ["outcome-0-seed-1", "dpo-1-seed-1", "outcome-0-seed-2", "dpo-1-seed-2"]
    folder = tmp_path / "runs" / "fpa-smollm2"
    assert (tmp_path / "sampled").read_text().split() == [f"{folder}/graded.parquet"]
    row = "| 2 | 0.000 (0.000 to 0.000) → 1.000 (1.000 to 1.000) | 0.500 (0.500 to 0.500) → 0.250 (0.250 to 0.250) |"
    for method in ("outcome, lambda 0", "dpo, lambda 1"):
        assert f"| {method} {row}" in (folder / "learned.md").read_text()
        assert f"| {method} {row}" in said
    assert (folder / "report.html").exists()


def test_a_stopped_study_goes_on_and_takes_more_methods_and_seeds(study, tmp_path):
    status, said, trained = study(METHODS="outcome:0 dpo:1", SEEDS="1", FAILS="dpo")
    assert status == 2
    assert "boom" in said and "frpo-verl: dpo, lambda 1, seed 1 failed; its log is " in said
    assert trained == ["outcome-0-seed-1"]
    assert study(METHODS="outcome:0 dpo:1", SEEDS="1")[2] == ["dpo-1-seed-1"]
    assert (tmp_path / "sampled").read_text() == ""
    assert study(METHODS="dpo:1 simper:0.5", SEEDS="1 2")[2] == [
        "simper-0.5-seed-1",
        "dpo-1-seed-2",
        "simper-0.5-seed-2",
    ]
    lines = (tmp_path / "runs/fpa-smollm2/simper-0.5-seed-1/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2]


def test_runs_of_other_settings_are_not_mixed_in(study):
    study(**ONE)
    for overrides, knobs in (((), {"STEPS": "3"}), ((), {"PAIRS_PER_PROMPT": "1"}), (("fpa.alpha=2",), {})):
        status, said, trained = study(*overrides, **ONE, **knobs)
        assert (status, trained) == (2, [])
        assert "holds runs with other settings (settings.txt); set RUNS to another folder" in said
