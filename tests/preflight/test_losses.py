"""Policy losses that measure the distance from the policy that sampled, before Ray starts, on verl's configuration."""

import pytest
from command_lines import FRPO, changed, composed, refused

from frpo_verl.preflight import examination, losses, regulariser

pytest.importorskip("verl")

ACTOR = "actor_rollout_ref.actor"
LOG_PROBS = "actor_rollout_ref.rollout.calculate_log_probs"
BYPASS = "algorithm.rollout_correction.bypass_mode"


@pytest.fixture(scope="module")
def base():
    return composed(["algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.n=5"])


def run(base, loss: str, *words: str):
    return changed(base, f"{ACTOR}.policy_loss.loss_mode={loss}", *words)


@pytest.mark.parametrize("loss", ["vanilla", "gspo"])
def test_other_losses_are_left_alone(base, loss):
    config = run(base, loss, f"{BYPASS}=True", f"{LOG_PROBS}=False", f"{ACTOR}.clip_ratio_low=-1")
    assert list(losses.problems(config)) == list(losses.warnings(config)) == []


@pytest.mark.parametrize("loss", ["drpo", "drpo_outside", "spo"])
@pytest.mark.parametrize("delta", [0.04, 1, 12.5])
def test_the_papers_setting_needs_no_word(base, loss, delta):
    words = (f"{ACTOR}.clip_ratio_low={delta}", f"{ACTOR}.clip_ratio_high={delta}", f"{ACTOR}.clip_ratio={delta}")
    # verl's clip_ratio may stay as it is
    for chosen in (words, words[:2]):
        config = run(base, loss, f"{BYPASS}=True", f"{LOG_PROBS}=True", *chosen)
        assert list(losses.problems(config)) == list(losses.warnings(config)) == []


@pytest.mark.parametrize("loss", ["dpro", "DRPO", "dppo"])
def test_an_unknown_loss_is_refused_with_those_that_there_are(base, loss):
    (problem,) = losses.problems(run(base, loss))
    assert problem.startswith(f"{ACTOR}.policy_loss.loss_mode={loss}: there is no such policy loss (bypass_mode, ")
    assert " drpo, " in problem


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the trainer's recomputed probabilities, delta=0.2 where the advantage is positive and 0.2 elsewhere"),
        (
            (f"{BYPASS}=True", f"{LOG_PROBS}=True", f"{ACTOR}.clip_ratio_high=0.15"),
            "the rollout engine's probabilities, delta=0.15 where the advantage is positive and 0.2 elsewhere",
        ),
    ],
)
def test_a_start_says_which_region_of_which_policy(base, words, said):
    (line,) = losses.summary(run(base, "drpo", *words))
    assert line == f"loss_mode=drpo measures from {said} ({ACTOR}.clip_ratio_high, clip_ratio_low)"
    far = (f"{ACTOR}.clip_ratio_low=12.5", f"{ACTOR}.clip_ratio_high=12.5")
    (line,) = losses.summary(run(base, "drpo", *far))
    assert line.endswith(", which no probability can reach")
    assert not list(losses.summary(run(base, "dppo_tv")))


@pytest.mark.parametrize("loss", ["dppo_tv", "dppo_kl"])
@pytest.mark.parametrize("c", [5, 10000])
def test_dppos_papers_settings_need_no_word(base, loss, c):
    config = run(base, loss, f"{BYPASS}=True", f"{LOG_PROBS}=True", f"{ACTOR}.clip_ratio_c={c}")
    assert list(losses.problems(config)) == list(losses.warnings(config)) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((f"{ACTOR}.clip_ratio_low=0",), "clip_ratio_low=0"),
        ((f"{ACTOR}.clip_ratio_high=-0.2",), "clip_ratio_high=-0.2"),
        ((f"{ACTOR}.clip_ratio_high=wide",), "clip_ratio_high=wide"),
        ((f"{ACTOR}.clip_ratio_high=.nan",), "clip_ratio_high=nan"),
        ((f"{ACTOR}.clip_ratio_low=true",), "clip_ratio_low=True"),
        ((f"{ACTOR}.clip_ratio_low=null", f"{ACTOR}.clip_ratio=-1"), "clip_ratio=-1"),
    ],
)
def test_a_region_without_a_width_is_refused(base, words, named):
    (problem,) = losses.problems(run(base, "drpo", *words))
    assert problem == (
        f"{ACTOR}.{named} with loss_mode=drpo: it is the width of the region around the policy that sampled, and must "
        "be a positive number, for instance 0.2"
    )
    assert problem in refused(run(base, "drpo", *words))


@pytest.mark.parametrize("loss", ["drpo", "dppo_tv"])
def test_an_anchor_that_nobody_computes_is_refused(base, loss):
    (problem,) = losses.problems(run(base, loss, f"{BYPASS}=True", f"{LOG_PROBS}=False"))
    assert problem == (
        f"{LOG_PROBS}=False with {BYPASS}=True: the rollout engine's log-probs are to be the anchor of "
        f"loss_mode={loss}, and nobody computes them; set {LOG_PROBS}=True"
    )


@pytest.mark.parametrize("loss", ["drpo", "drpo_outside", "spo", "dppo_tv", "dppo_kl"])
@pytest.mark.parametrize(("log_probs", "also"), [("True", ""), ("False", f", {LOG_PROBS}=False")])
def test_without_the_engines_log_probs_the_anchor_is_said(base, loss, log_probs, also):
    config = run(base, loss, f"{LOG_PROBS}={log_probs}", f"{ACTOR}.clip_ratio_c=10000")
    assert list(losses.problems(config)) == []
    (warning,) = losses.warnings(config)
    assert warning == (
        f"loss_mode={loss} measures from the policy that sampled as the trainer recomputes it, not from the rollout "
        f"engine's own probabilities as its paper does ({BYPASS}=False{also}), and leaves the mismatch of the two "
        f"alone; set {BYPASS}=True and {LOG_PROBS}=True"
    )


@pytest.mark.parametrize("loss", ["drpo", "dppo_tv"])
def test_with_frpo_the_two_anchors_are_weighed(base, loss):
    config = run(base, loss, *FRPO, f"{ACTOR}.clip_ratio_c=10000")
    (warning,) = losses.warnings(config)
    assert warning.endswith(
        f"; set {BYPASS}=True to anchor on the engine, whose mismatch the future term then sums unless "
        "algorithm.frpo.kl=current"
    )
    config = changed(config, f"{BYPASS}=True")
    assert list(losses.warnings(config)) == []
    assert not [said for said in regulariser.warnings(config) if said.startswith(BYPASS)]


def test_verls_truncation_of_dppo_is_named_with_its_fix(base):
    config = run(base, "dppo_tv", f"{BYPASS}=True", f"{LOG_PROBS}=True")
    (warning,) = losses.warnings(config)
    assert warning == (
        f"{ACTOR}.clip_ratio_c=3.0 with loss_mode=dppo_tv: verl cuts every ratio at this value, and DPPO's paper found "
        "that truncation harms (arXiv 2602.04879, section 5.4); set "
        f"{ACTOR}.clip_ratio_c=10000"
    )


def test_the_default_is_what_verls_loss_truncates_at():
    # the trap itself: verl's function says 20 where the configuration has no such key, and it has one
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    assert config.get("clip_ratio_c", 20.0) == 3.0 < losses.LEAST_TRUNCATION


def test_a_width_under_the_key_that_is_not_read_is_named(base):
    config = run(base, "drpo", f"{BYPASS}=True", f"{ACTOR}.clip_ratio=12.5")
    (warning,) = losses.warnings(config)
    assert warning == (
        f"{ACTOR}.clip_ratio=12.5 has no effect next to clip_ratio_low=0.2 and clip_ratio_high=0.2, which are the "
        "region of loss_mode=drpo; set these two"
    )
    assert list(losses.warnings(changed(config, f"{ACTOR}.clip_ratio_low=null", f"{ACTOR}.clip_ratio_high=null"))) == []


def test_a_start_hears_of_it_where_the_run_is_ours(base):
    heard = examination.examine(run(base, "drpo"), look_at_machine=False, starting=True).warnings
    assert [said for said in heard if said.startswith("loss_mode=drpo measures")]
    theirs = examination.examine(run(base, "dppo_tv"), look_at_machine=False, starting=True)
    assert theirs.warnings == []
    asked = examination.examine(run(base, "dppo_tv"), look_at_machine=False).warnings
    assert [said for said in asked if said.startswith(f"{ACTOR}.clip_ratio_c=3.0")]


def test_a_verl_that_does_not_fit_is_refused(base, monkeypatch):
    from verl.utils.metric import Metric

    monkeypatch.delattr(Metric, "from_dict")
    (problem,) = losses.problems(run(base, "drpo"))
    assert "verl.utils.metric.Metric.from_dict is gone" in problem
