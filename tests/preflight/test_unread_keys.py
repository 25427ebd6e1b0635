"""Keys of ours that verl would ignore, and keys that are none of ours."""

import re

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, composed, refused


def compose(*overrides):
    return composed([*FRPO, "actor_rollout_ref.actor.use_dynamic_bsz=True", *overrides])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["+algorithm.kl_mod=future"], r"algorithm\.kl_mod: there is no such key; did you mean algorithm\.kl_mode\?"),
        (["+algorithm.frop.kl=current"], r"algorithm\.frop: there is no such key; did you mean algorithm\.frpo\?"),
        (["algorithm.adv_estimator=fpro"], r"algorithm\.adv_estimator=fpro: there is no such estimator; did you mean"),
        (["+algorithm.frpo.target_kl=1"], r"the nearest is algorithm\.kl_ctrl\.target_kl \(all"),
        (["+algorithm.frpo.beta=1"], r"the nearest is algorithm\.kl_ctrl\.kl_coef \(all"),
        (["+algorithm.frpo.step_value=end"], r"step_value=end without step_length: there are no steps; set"),
        (
            ["+algorithm.kl_ctrl.target=1"],
            r"algorithm\.kl_ctrl\.target: there is no such key; the nearest is algorithm\.",
        ),
        (["+algorithm.frp.horizon=3"], r"algorithm\.frp: there is no such key; did you mean algorithm\.frpo\?"),
        (
            ["algorithm.adv_estimator=rloo", "+algorithm.frpo.horizon=3"],
            r"algorithm\.frpo\.horizon=3 has no effect with adv_estimator=rloo; add \+algorithm\.kl_mode=future",
        ),
        (["algorithm.adv_estimator=rloo", "+algorithm.kl_mode=futur"], r"algorithm\.kl_mode=futur: there is one mode"),
        (["+algorithm.frpo.horizn=3"], r"algorithm\.frpo\.horizn: there is no such key; the nearest"),
        (
            ["algorithm.adv_estimator=gae", "+algorithm.kl_mode=future", "algorithm.use_kl_in_reward=True"],
            r"algorithm\.use_kl_in_reward=True: .*set algorithm\.use_kl_in_reward=False",
        ),
    ],
    ids=str,
)
def test_keys_that_verl_would_ignore_are_refused(overrides, sentence):
    assert any(re.search(sentence, problem) for problem in refused(compose(*overrides)))


@pytest.mark.parametrize("estimator", ["gae", "frpo"])
def test_keys_of_the_users_own_are_none_of_our_business(estimator):
    # other methods' settings, some a letter away from ours
    theirs = ("temperature", "grpo", "drpo", "rpo", "kl_cov", "kl_coef", "kl_model", "kl", "loss_mode", "mode")
    added = [f"+algorithm.{key}=3" for key in theirs]
    assert refused(compose(f"algorithm.adv_estimator={estimator}", *added)) == []


@pytest.mark.parametrize(
    "place", ["", "algorithm.kl_ctrl.", "actor_rollout_ref.", "actor_rollout_ref.actor.", "trainer."]
)
@pytest.mark.parametrize(("key", "given"), [("kl_mode", "kl_mode=future"), ("frpo", "frpo.horizon=3")])
def test_our_keys_in_a_section_that_ignores_them_are_refused(place, key, given):
    (problem,) = refused(compose("algorithm.adv_estimator=grpo", f"+{place}{given}"))
    assert problem == f"{place}{key}: this key is ignored here; use +algorithm.{key}"
