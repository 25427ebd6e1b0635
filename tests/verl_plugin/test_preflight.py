"""Start-up checks, on verl's own composed configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from frpo_verl.verl_plugin import preflight
from frpo_verl.verl_plugin.errors import SettingsError

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


def test_one_switch_is_enough_and_the_coefficient_is_said(compose, capsys):
    preflight.check(compose())
    said = capsys.readouterr()
    assert (
        "adv_estimator=frpo, beta=0.001 (algorithm.kl_ctrl.kl_coef), divergence to the reference: reverse KL"
        in said.out
    )
    assert said.err == ""


def test_beta_zero_is_said_to_be_grpo(compose, capsys):
    preflight.check(compose("algorithm.kl_ctrl.kl_coef=0"))
    assert "this is verl's grpo, and no reference policy is loaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("algorithm.use_kl_in_reward=True", r"algorithm\.use_kl_in_reward=True: .*Proposition 3\.2.*set algorithm"),
        ("actor_rollout_ref.rollout.n=1", r"actor_rollout_ref\.rollout\.n=1: .*a group of one has no spread; set"),
        ("algorithm.kl_penalty=wasserstein", r"algorithm\.kl_penalty: unknown divergence 'wasserstein'"),
        (
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=null",
            r"actor_rollout_ref\.ref\.log_prob_micro_batch_size_per_gpu=None: frpo loads the reference policy",
        ),
        ("algorithm.kl_ctrl.kl_coef=-1", r"algorithm\.kl_ctrl\.kl_coef=-1: frpo needs a finite number"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(compose, override, sentence):
    with pytest.raises(SettingsError, match=sentence) as error:
        preflight.check(compose(override))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("actor_rollout_ref.actor.use_kl_loss=True", "counts the divergence to the reference a second time"),
        ("algorithm.rollout_correction.bypass_mode=True", "adds their mismatch up over the whole response"),
    ],
)
def test_what_is_doubtful_is_warned_about(compose, capsys, override, sentence):
    preflight.check(compose(override))
    assert sentence in capsys.readouterr().err


def test_a_kl_loss_with_coefficient_zero_is_no_second_count(compose, capsys):
    preflight.check(compose("actor_rollout_ref.actor.use_kl_loss=True", "actor_rollout_ref.actor.kl_loss_coef=0"))
    assert capsys.readouterr().err == ""


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
