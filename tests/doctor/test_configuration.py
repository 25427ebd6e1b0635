"""Tests the account of what a composed configuration will run."""

import pytest
from command_lines import FRPO, composed
from omegaconf import OmegaConf

from frpo_verl import doctor
from frpo_verl.doctor import configuration, nodes, symbols
from frpo_verl.doctor.report import Section

pytest.importorskip("verl")
pytestmark = pytest.mark.usefixtures("verls_defaults_are_there")

RUNS = (
    *FRPO,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
)


def examine(*overrides):
    return configuration.examine(composed([*RUNS, *overrides]))


def test_what_will_run_is_said():
    section = examine("algorithm.kl_penalty=js", "algorithm.kl_ctrl.kl_coef=0.04", "+algorithm.frpo.horizon=8")
    assert (section.problems, section.warnings) == ([], [])
    assert section.rows == {
        "advantage estimator": "frpo",
        "kl_mode": "not set",
        "token_weight": "not set",
        "divergence": "js, Jensen-Shannon",
        "beta": "0.04",
        "control of beta": "fixed",
        "frpo.horizon": "8",
        "reference policy": "loaded",
        "use_kl_in_reward": "False",
        "use_kl_loss": "False",
        "responses a prompt": "5",
        "trainer": "V1, sync",
        "engine": "fsdp, reference fsdp",
        "rollout": "vllm",
        "device": "cuda",
    }


def test_a_trainer_with_servers_of_its_own_is_not_v1_whatever_the_switch_says():
    assert examine("+rollout.nnodes=1").rows["trainer"] == "V0"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("actor_rollout_ref.rollout.n=1", "a group of one has no spread"),
        ("algorithm.kl_penalty=kl1", "unknown divergence 'kl1'"),
        (
            "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=null",
            "verl refuses this configuration: [actor_",
        ),
        ("data.train_batch_size=1", "verl refuses this configuration: real_train_batch_size (5) must be divisible"),
        (
            "trainer.project_name=${oc.env:FRPO_VERL_NOT_SET}",
            "Environment variable 'FRPO_VERL_NOT_SET' not found",
        ),
    ],
)
def test_what_does_not_run_is_one_sentence(override, sentence):
    (problem,) = examine(override).problems
    assert sentence in problem
    assert "\n" not in problem


@pytest.mark.parametrize("value", ["True", "current", "[kl,current]"])
def test_a_section_that_is_none_is_one_sentence(value):
    section = examine(f"+algorithm.frpo={value}")
    (problem,) = section.problems
    assert "it must be a section with keys of form, kl," in problem
    assert section.rows["frpo"] in (value, "['kl', 'current']")


def test_a_misspelt_estimator_is_a_problem_and_no_doubt():
    section = examine("algorithm.adv_estimator=fpro")
    assert section.warnings == []
    assert "there is no such estimator; did you mean frpo?" in section.problems[0]


def test_doubts_are_no_problems():
    section = examine("actor_rollout_ref.actor.use_kl_loss=True")
    assert section.problems == []
    assert "counts the divergence" in section.warnings[0]
    assert section.rows["use_kl_loss"].startswith("True, kl_loss_coef=")


def test_a_run_without_frpo_is_said_to_be_one():
    section = examine("algorithm.adv_estimator=grpo")
    assert section.problems == []
    assert "algorithm.adv_estimator=grpo: this command line does not use FRPO" in section.warnings[0]
    assert section.rows["reference policy"] == "not loaded"


def test_a_configuration_of_something_else_is_named():
    (problem,) = configuration.examine(OmegaConf.create({"trainer": {}})).problems
    assert problem.startswith("no section algorithm, actor_rollout_ref: main_ppo cannot run this configuration")


@pytest.mark.parametrize("key", ["+ray_kwargs.ray_init.num_gpus", "+ray_kwargs.ray_init.runtime_env.env_vars.A"])
def test_what_cannot_be_resolved_of_ray_is_a_problem_and_ray_is_asked_without_it(key, monkeypatch):
    asked = []
    monkeypatch.setattr(symbols, "examine", lambda: Section("symbols", {}))
    monkeypatch.setattr(nodes, "examine", lambda question, here: asked.append(question) or Section("nodes", {}))
    line = ["python", "-m", "verl.trainer.main_ppo", *RUNS, f"{key}=${{no.such.key}}"]
    report = doctor.examine(line, use_ray=True, ray_address=None, ray_seconds=1)
    assert [question.runtime_env for question in asked] == [{}]
    (problem,) = report.problems
    assert problem.startswith("an interpolation cannot be resolved: ") and "no.such.key" in problem
