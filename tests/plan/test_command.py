"""The command `frpo-verl plan`."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("verl")
from command_lines import FRPO
from omegaconf import OmegaConf
from plan.published import TINY
from transformers import Qwen3Config

from frpo_verl import cli
from frpo_verl.preflight import machine

pytestmark = pytest.mark.usefixtures("verls_defaults_are_there")

RUN = (*FRPO, "actor_rollout_ref.actor.use_dynamic_bsz=True")


@pytest.fixture
def model(tmp_path):
    config = Qwen3Config(**TINY, tie_word_embeddings=True, architectures=["Qwen3ForCausalLM"])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config.to_dict()))
    return f"actor_rollout_ref.model.path={tmp_path / 'model'}"


def test_the_configuration_is_alone_on_stdout(model, capsys):
    assert cli.main(["plan", "--gpu-memory", "80", "--", "python", "-m", "verl.trainer.main_ppo", *RUN, model]) == 0
    printed = capsys.readouterr()
    config = OmegaConf.create(printed.out)
    assert config.algorithm.adv_estimator == "frpo"
    # Resolved: nothing that refers to something else is left.
    assert "${" not in printed.out
    assert config.actor_rollout_ref.actor.rollout_n == 5
    assert "Memory per GPU, a rough lower bound: " in printed.err
    assert "of 80.0 GiB" in printed.err
    assert printed.err.endswith("No problems found.\n")


def test_problems_come_last_with_status_1(model, capsys):
    lines = [*RUN, model, "actor_rollout_ref.rollout.n=1", "data.val_files=/nowhere/test.parquet"]
    assert cli.main(["plan", "--", *lines]) == 1
    printed = capsys.readouterr()
    assert OmegaConf.create(printed.out).actor_rollout_ref.rollout.n == 1
    problems = printed.err.split("Problems\n")[1]
    assert problems.startswith("  1. actor_rollout_ref.rollout.n=1: ")
    assert "  2. data.val_files=/nowhere/test.parquet: there is no such file;" in problems


def test_the_offline_trainers_own_checks_are_made(model, tmp_path, capsys):
    path = model.partition(".")[2]
    words = ["python", "-m", "frpo_verl.trainers.fpa", path, "fpa.lam=-1", "data.val_files=/none.parquet"]
    assert cli.main(["plan", "--", *words]) == 1
    printed = capsys.readouterr()
    assert OmegaConf.create(printed.out).fpa.lam == -1
    for said in ("fpa.lam=-1: it must not be negative", "data.val_files=/none.parquet: there is no such file"):
        assert said in printed.err


def test_no_memory_is_estimated_of_what_is_no_count(model, capsys):
    assert cli.main(["plan", "--", *RUN, model, "trainer.nnodes=two"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("\nMemory per GPU: not estimated, see below\n")
    assert said.endswith("Problems\n  1. trainer.nnodes=two: set it to a whole number of 1 or more\n")


def test_what_verl_refuses_is_among_them(model, capsys):
    by_rows = (
        "actor_rollout_ref.actor.use_dynamic_bsz=False",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
    )
    assert cli.main(["plan", "--", *RUN, model, *by_rows]) == 1
    assert "verl refuses this configuration: " in capsys.readouterr().err


def test_a_command_line_that_hydra_refuses_has_no_configuration(capsys):
    assert cli.main(["plan", "--", *RUN, "algorithm.kl_penatly=k3"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the nearest is algorithm.kl_penalty" in printed.err


def test_a_plan_that_does_not_fit_is_a_warning(model, capsys):
    assert cli.main(["plan", "--gpu-memory", "0.001", "--", *RUN, model]) == 0
    said = capsys.readouterr().err
    assert "Warnings\n  1. the " in said


def test_a_model_that_cannot_be_had_does_not_hide_the_configuration(capsys):
    # verl's default, whose config.json says nothing here.
    assert cli.main(["plan", "--", *RUN]) == 0
    printed = capsys.readouterr()
    assert OmegaConf.create(printed.out).algorithm.adv_estimator == "frpo"
    assert "Memory per GPU: not estimated, see below" in printed.err
    assert "its config.json cannot be read (" in printed.err.replace("\n     ", " ")


def test_the_cpu_platform_has_an_estimate_of_its_own_and_is_not_held(model, capsys, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.setattr(machine, "problems", lambda config: pytest.fail("a plan is not a run"))
    assert cli.main(["plan", "--", *RUN, model]) == 1
    said = capsys.readouterr().err
    assert "Memory of this machine: not estimated, actor_rollout_ref.model.path is not a folder with safete" in said
    assert "actor_rollout_ref.actor.strategy=fsdp: the CPU platform runs FSDP2 and Megatron; set" in said


def plan(*arguments: str, program: tuple[str, ...] = ("-m", "frpo_verl"), **environment: str) -> tuple[int, str]:
    """Runs the command in a process of its own, where nothing has loaded the plugin yet."""
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", *program, "plan", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "VERL_PLATFORM": "", **environment},
        timeout=180,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, " ".join(ended.stderr.split())


def test_a_plugin_that_verl_does_not_load_is_a_problem_as_the_doctor_has_it(model):
    status, said = plan("--", *RUN, model, VERL_USE_EXTERNAL_PLUGINS="none")
    assert status == 1
    assert "1. here: importing verl does not load the plugin, since VERL_USE_EXTERNAL_PLUGINS=none leaves" in said


def test_without_torch_it_is_one_sentence():
    program = "import sys; sys.modules['torch'] = None; from frpo_verl.cli import main; sys.exit(main(sys.argv[1:]))"
    status, said = plan("--", *RUN, program=("-c", program))
    assert status == 1
    assert said.startswith("Problems 1. here: verl cannot be imported (ModuleNotFoundError: import of torch halted;")


def test_a_size_that_is_no_number_is_bad_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "--gpu-memory", "much", "--"])
    assert ended.value.code == 2
