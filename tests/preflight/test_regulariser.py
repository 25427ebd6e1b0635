"""Start-up checks, on verl's own composed configuration."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import refused

from frpo_verl.preflight import contract, regulariser

verl = pytest.importorskip("verl")


@pytest.fixture
def compose():
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        yield lambda *overrides: compose(
            "ppo_trainer",
            [
                "algorithm.adv_estimator=frpo",
                "actor_rollout_ref.rollout.n=5",
                "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
                *overrides,
            ],
        )


def test_one_switch_is_enough_and_the_coefficient_is_said(compose):
    config = compose()
    assert (refused(config), list(regulariser.warnings(config))) == ([], [])
    (line,) = regulariser.summary(config)
    assert "adv_estimator=frpo, beta=0.001 (algorithm.kl_ctrl.kl_coef), divergence to the reference: reverse KL" in line


def test_beta_zero_is_said_to_be_grpo(compose):
    lines = regulariser.summary(compose("algorithm.kl_ctrl.kl_coef=0"))
    assert lines[-1] == "beta=0, so this is verl's grpo, and no reference policy is loaded"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("algorithm.use_kl_in_reward=True", r"algorithm\.use_kl_in_reward=True: .*Proposition 3\.2.*set algorithm"),
        ("actor_rollout_ref.rollout.n=1", r"actor_rollout_ref\.rollout\.n=1: .*a group of one has no spread; set"),
        ("algorithm.kl_penalty=wasserstein", r"algorithm\.kl_penalty: unknown divergence 'wasserstein'"),
        (
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=null",
            r"actor_rollout_ref\.ref\.log_prob_micro_batch_size_per_gpu=None: the divergence needs the reference",
        ),
        ("algorithm.kl_ctrl=null", r"algorithm\.kl_ctrl=None: frpo reads its coefficient there; set algorithm"),
        ("+algorithm.frpo.horizon=???", r"algorithm\.frpo\.horizon=\?\?\?: set a number of tokens"),
        (
            "algorithm.kl_ctrl.kl_coef=0 +algorithm.frpo.baseline=fitted",
            r"algorithm\.frpo\.baseline=fitted with kl_ctrl\.kl_coef=0: its columns are sums of log-ratios",
        ),
        (
            "actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean +algorithm.frpo.baseline=fitted",
            r"algorithm\.frpo\.baseline=fitted with .*loss_mode=geo_mean: a token would get the baselines of later",
        ),
        (
            "algorithm.adv_estimator=rloo +algorithm.kl_mode=future actor_rollout_ref.rollout.n=1 "
            "+algorithm.frpo.baseline=loo_position",
            r"algorithm\.frpo\.baseline=loo_position with actor_rollout_ref\.rollout\.n=1: there is no other response",
        ),
        ("algorithm.kl_ctrl.kl_coef=-1", r"algorithm\.kl_ctrl\.kl_coef=-1: frpo needs a finite number"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(compose, override, sentence):
    (problem,) = refused(compose(*override.split()))
    assert re.match(sentence, problem) and "\n" not in problem


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("actor_rollout_ref.actor.use_kl_loss=True", "counts the divergence to the reference a second time"),
        ("+algorithm.kl=current", "algorithm.kl=current: this key is ignored here; use +algorithm.frpo.kl"),
        ("algorithm.kl_ctrl.target_kl=0.05", "algorithm.kl_ctrl.target_kl=0.05 has no effect with type=fixed; set"),
    ],
)
def test_what_is_doubtful_is_warned_about(compose, override, sentence):
    (warning,) = regulariser.warnings(compose(override))
    assert sentence in warning


@pytest.mark.parametrize("coefficient", ["0", "null"])
def test_a_kl_loss_without_a_coefficient_is_no_second_count(compose, coefficient):
    none = f"actor_rollout_ref.actor.kl_loss_coef={coefficient}"
    assert list(regulariser.warnings(compose("actor_rollout_ref.actor.use_kl_loss=True", none))) == []


@pytest.mark.parametrize(
    ("beta", "use_kl_loss", "needed"), [(0.001, False, True), (0, False, False), (0, True, True), (0.001, True, True)]
)
def test_the_reference_is_loaded_for_frpo_unless_beta_is_zero(compose, beta, use_kl_loss, needed):
    from verl.trainer.ppo.utils import need_reference_policy

    config = compose(f"algorithm.kl_ctrl.kl_coef={beta}", f"actor_rollout_ref.actor.use_kl_loss={use_kl_loss}")
    assert need_reference_policy(config) is needed


def test_other_estimators_load_no_reference_for_us(compose):
    from verl.trainer.ppo.utils import need_reference_policy

    assert not need_reference_policy(compose("algorithm.adv_estimator=grpo"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], "frpo-verl: actor_rollout_ref.rollout.n=1: "),
        (["actor_rollout_ref.rollout.n=5", "algorithm.kl_penalty=kl1"], "frpo-verl: algorithm.kl_penalty: unknown"),
    ],
    ids=["first seen by validate_config", "first seen by need_reference_policy"],
)
def test_main_ppo_ends_with_the_sentence_alone_before_ray_starts(tmp_path, overrides, sentence):
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "algorithm.adv_estimator=frpo", *overrides]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith(sentence)
    assert "Traceback" not in ended.stderr
    assert "ray init kwargs" not in ended.stdout


@pytest.mark.parametrize("estimator", ["gae", "frpo"])
@pytest.mark.parametrize("value", ["true", "future", "3", "[1]"])
def test_a_section_that_is_none_is_refused(compose, estimator, value):
    (problem,) = refused(compose(f"algorithm.adv_estimator={estimator}", f"+algorithm.frpo={value}"))
    assert re.match(r"algorithm\.frpo=.*: it must be a section with keys of form, kl, ", problem)


def test_an_adaptive_coefficient_that_a_step_may_take_to_zero_is_refused(compose):
    # verl's defaults: 1024 prompts, five responses each
    adaptive = ["algorithm.kl_ctrl.type=adaptive", "data.train_batch_size=1024"]
    (problem,) = refused(compose(*adaptive, "algorithm.kl_ctrl.horizon=1024"))
    assert problem.startswith(
        "algorithm.kl_ctrl.horizon=1024 with type=adaptive: one step of 5120 responses may lower β by 100%; set it "
        "far above 1024"
    )
    assert refused(compose(*adaptive, "algorithm.kl_ctrl.horizon=1025")) == []


def test_a_resumed_coefficient_is_looked_for_before_ray_starts(compose, tmp_path):
    adaptive = ["algorithm.kl_ctrl.type=adaptive", f"trainer.default_local_dir={tmp_path}"]
    folder = tmp_path / "global_step_7"
    folder.mkdir()
    assert refused(compose(*adaptive)) == []
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("7")
    (problem,) = refused(compose(*adaptive))
    assert problem.startswith(f"{folder}/frpo_verl.json is missing: ")
    by_path = [*adaptive, "trainer.resume_mode=resume_path", f"trainer.resume_from_path={folder}"]
    assert refused(compose(*by_path)) == [problem]
    for nothing_resumed in ("trainer.resume_mode=disable", "algorithm.kl_ctrl.type=fixed"):
        assert refused(compose(*adaptive, nothing_resumed)) == []
    (folder / "frpo_verl.json").write_text('{"beta": 0.25}')
    assert refused(compose(*adaptive)) == []
    assert f"beta resumes at 0.25, from {folder}/frpo_verl.json" in regulariser.summary(compose(*adaptive))


def test_a_damaged_memory_of_a_baseline_is_seen_before_ray_starts(compose, tmp_path):
    fitted = ["+algorithm.frpo.baseline=fitted", f"trainer.default_local_dir={tmp_path}"]
    folder = tmp_path / "global_step_7"
    folder.mkdir()
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("7")
    assert refused(compose(*fitted)) == []
    (folder / "frpo_verl.json").write_text('{"baseline": [[1.0]]}')
    (problem,) = refused(compose(*fitted))
    assert "holds no 6 × 6 finite numbers for baseline" in problem
    assert refused(compose(*fitted[1:])) == []


def test_distillation_without_task_rewards_leaves_no_advantage_to_regularise(compose):
    config = compose("actor_rollout_ref.rollout.n=5")
    if "distillation" not in config:
        pytest.skip("this verl has no distillation")
    loss = "distillation.distillation_loss.use_task_rewards"
    assert refused(compose("distillation.enabled=True", f"{loss}=True")) == []
    (problem,) = refused(compose("distillation.enabled=True", f"{loss}=False"))
    assert problem.startswith(f"{loss}=False: verl then leaves the advantages out of the loss")


@pytest.mark.parametrize(
    ("overrides", "is_refused"),
    [
        (["data.train_batch_size=256"], True),
        (["data.train_batch_size=512"], False),
        (["data.train_batch_size=256", "actor_rollout_ref.actor.ppo_epochs=2"], False),
        (["data.train_batch_size=256", "algorithm.rollout_correction.bypass_mode=True"], False),
        (["data.train_batch_size=256", "trainer.v1.trainer_mode=separate_async"], False),
    ],
)
def test_a_correction_of_stale_samples_without_one_is_refused(compose, overrides, is_refused):
    config = compose("+algorithm.frpo.kl=current", "+algorithm.frpo.stale=vtrace", *overrides)
    found = [problem for problem in regulariser.problems(config) if problem.startswith("algorithm.frpo.stale=vtrace")]
    assert len(found) == is_refused
    assert all("every importance ratio is 1 at the only update; set" in problem for problem in found)


def test_the_trainer_of_verl_0_8_that_is_out_of_reach_is_refused(compose, monkeypatch):
    from omegaconf import OmegaConf, open_dict

    config = compose()
    with open_dict(config):
        OmegaConf.update(config, "transfer_queue.enable", True, force_add=True)
    monkeypatch.setattr(contract, "verl_version", lambda: "0.8.0")
    assert [problem for problem in refused(config) if "(main_ppo_sync) is out of the plugin's reach" in problem]
    monkeypatch.setattr(contract, "verl_version", lambda: "0.9.1")
    assert refused(config) == []


def test_an_estimator_without_groups_may_run_with_one_response(compose):
    config = compose("algorithm.adv_estimator=gae", "+algorithm.kl_mode=future", "actor_rollout_ref.rollout.n=1")
    assert refused(config) == []


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["algorithm.adv_estimator=rloo", "+algorithm.kl_mode=future"],
            "adv_estimator=rloo with kl_mode=future, beta=",
        ),
        (["algorithm.kl_ctrl.type=adaptive"], "beta is adaptive: target_kl=0.1 nats per token, horizon=10000"),
        (
            ["+algorithm.frpo.baseline=fitted"],
            "baseline=fitted: each prompt's coefficients come from the other prompts and from earlier batches; frpo/",
        ),
        (["+algorithm.frpo.horizon=3", "+algorithm.frpo.form=theorem"], "algorithm.frpo: horizon=3"),
        (
            ["+algorithm.frpo.kl=current", "data.train_batch_size=256"],
            "kl=current with one mini-batch and one epoch a step: the current policy is that of the rollout",
        ),
        (
            ["algorithm.adv_estimator=rloo", "+algorithm.kl_mode=future", "algorithm.kl_ctrl.kl_coef=0"],
            "beta=0, so this is verl's rloo, and no reference policy is loaded",
        ),
        (
            ["+algorithm.frpo.std=population", "algorithm.kl_ctrl.kl_coef=0"],
            "beta=0, so this is verl's grpo with std=population, and no reference policy is loaded",
        ),
    ],
    ids=str,
)
def test_what_will_run_is_said(compose, overrides, line):
    assert any(line in said for said in regulariser.summary(compose(*overrides)))


def of_verl(**batch):
    """Stands for an estimator of verl's."""


of_verl.__module__ = "verl.trainer.ppo.core_algos"


def test_what_a_verl_that_regularises_itself_cannot_do_is_refused(compose, monkeypatch):
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "frpo", of_verl)
    line = "this verl subtracts the divergence itself: the plugin leaves it to verl and logs no frpo/ figures"
    assert line in regulariser.summary(compose())
    assert refused(compose("+algorithm.frpo.form=theorem")) == []
    for override, sentence in (
        ("+algorithm.frpo.discount=0.5", "algorithm.frpo.discount=0.5: this verl subtracts the divergence itself"),
        ("algorithm.kl_ctrl.type=adaptive", "algorithm.kl_ctrl.type=adaptive: this verl subtracts the"),
        ("algorithm.kl_penalty=jeffreys", "algorithm.kl_penalty=jeffreys: this verl subtracts the divergence itself"),
    ):
        (problem,) = refused(compose(override))
        assert problem.startswith(sentence)
        assert problem.endswith(" as it was released")


@pytest.mark.parametrize("penalty", ["kl", "k1", "low_var_kl", "k3"])
def test_what_such_a_verl_can_do_is_not_refused(compose, monkeypatch, penalty):
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    monkeypatch.setitem(ADV_ESTIMATOR_REGISTRY, "frpo", of_verl)
    assert refused(compose(f"algorithm.kl_penalty={penalty}")) == []


def test_several_mini_batches_make_the_current_policy_another_one(compose):
    said = regulariser.summary(compose("+algorithm.frpo.kl=current", "data.train_batch_size=1024"))
    assert not any("one mini-batch" in line for line in said)


@pytest.mark.parametrize("mode", [None, "future"])
def test_every_example_script_gains_frpo_by_one_flag(compose, mode):
    """The flags that verl's own GRPO scripts set, with the estimator changed and nothing else."""
    script = [
        "algorithm.use_kl_in_reward=False",
        "actor_rollout_ref.actor.use_kl_loss=True",
        "actor_rollout_ref.actor.kl_loss_coef=0.001",
        "actor_rollout_ref.actor.kl_loss_type=low_var_kl",
        "actor_rollout_ref.actor.entropy_coeff=0",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
    ]
    flag = ["algorithm.adv_estimator=frpo"] if mode is None else ["+algorithm.kl_mode=future"]
    config = compose(*script, *(flag if mode is None else ["algorithm.adv_estimator=grpo", *flag]))
    assert refused(config) == []
    assert len(list(regulariser.warnings(config))) == 1
