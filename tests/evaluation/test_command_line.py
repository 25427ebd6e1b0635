"""Recorded command lines, and what they say of a run."""

import pytest

from frpo_verl.evaluation.command_line import parse_command
from frpo_verl.evaluation.metrics import RunLogError


@pytest.mark.parametrize(
    ("words", "model", "task", "estimator", "seed"),
    [
        ("", "verl's default", "verl's default", "gae", "verl's default (the command sets none)"),
        (
            "--config-name frpo_trainer",
            "frpo_trainer's default",
            "frpo_trainer's default",
            "frpo_trainer's default",
            "frpo_trainer's default (the command sets none)",
        ),
        (
            "--config-name=frpo_trainer algorithm.adv_estimator=rloo +algorithm.kl_mode=future data.seed=1",
            "frpo_trainer's default",
            "frpo_trainer's default",
            "rloo + future KL",
            "data.seed=1",
        ),
        (
            "actor_rollout_ref.model.path=models/tiny \\\n "
            "data.val_files=\"['a/math500.parquet','gsm8k/test.parquet']\" "
            "++actor_rollout_ref.actor.data_loader_seed=3 data.seed=1",
            "tiny",
            "math500, gsm8k",
            "gae",
            "actor_rollout_ref.actor.data_loader_seed=3, data.seed=1",
        ),
        ("data.train_files=test.parquet", "verl's default", "test", "gae", "verl's default (the command sets none)"),
    ],
)
def test_the_command_says_model_task_estimator_and_seed(words, model, task, estimator, seed):
    command = parse_command(f"python -m verl.trainer.main_ppo {words}")
    assert command[1:] == (model, task, estimator, seed)


@pytest.mark.parametrize(
    ("words", "method"), [("", "outcome, lambda 1"), ("fpa.loss=dpo fpa.lam=0.5", "dpo, lambda 0.5")]
)
def test_the_command_of_an_offline_run_says_its_loss(words, method):
    command = parse_command(f"python -m frpo_verl.trainers.fpa model.path=models/tiny data.seed=3 {words}")
    assert command[1:] == ("tiny", "verl's default", method, "data.seed=3")


def test_of_another_program_nothing_is_known():
    command = parse_command("PYTHONPATH=a OMP_NUM_THREADS=1 python -P -m study.runs runs/x")
    assert set(command[1:]) == {"not recorded"} and command.text.endswith("study.runs runs/x")


def test_a_continued_command_is_shown_on_one_line():
    assert parse_command("python \\\n  -m verl \\\n  a=1\n").text == "python -m verl a=1"


def test_a_command_with_open_quotes_is_refused():
    with pytest.raises(RunLogError, match="not a shell command line"):
        parse_command("python 'open")
