"""verl's older sections of the reward: what its mains make of them."""

import functools

import pytest

pytest.importorskip("verl")
from command_lines import FRPO, changed, composed
from omegaconf import OmegaConf

from frpo_verl.preflight import older_reward

FULLY_ASYNC = ("-m", older_reward._FULLY_ASYNC)
ONE_STEP_OFF = ("-m", older_reward._ONE_STEP_OFF)
OLDER = ("reward_model.reward_manager=dapo", "custom_reward_function.path=/mine.py", "sandbox_fusion.url=http://box")


@functools.cache
def of_main(*main):
    return composed([*main, *FRPO, *(["hydra.searchpath=[pkg://verl.trainer.config]"] if main else [])])


def compose(*overrides, main=()):
    return changed(of_main(*main), *overrides)


@pytest.mark.parametrize(("main", "named"), [((), older_reward._MAIN_PPO), (ONE_STEP_OFF, ONE_STEP_OFF[1])])
def test_a_main_that_ignores_them_is_a_warning_for_each_key(main, named):
    ignored = f"{named} of this verl ignores this older section, and the reward is computed without it; set "
    assert list(older_reward.warnings(compose(*OLDER, main=main))) == [
        f"reward_model.reward_manager=dapo: {ignored}reward.reward_manager.name",
        f"custom_reward_function.path=/mine.py: {ignored}reward.custom_reward_function.path",
        f"sandbox_fusion.url=http://box: {ignored}reward.sandbox_fusion.url",
    ]
    moved = older_reward.moved(compose(*OLDER, main=main))
    assert not set(older_reward.SECTIONS) & set(moved)
    assert moved.reward == compose(main=main).reward


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("reward_model.reward_kwargs.max_resp_len=8", "reward.reward_kwargs.max_resp_len"),
        ("reward_model.model.path=x", "reward.reward_model.model_path"),
        ("reward_model.num_workers=3", "reward.num_workers"),
        ("reward_model.enable=True", "reward.reward_model.enable"),
        ("reward_model.rollout.name=vllm", "reward.reward_model.rollout.name"),
    ],
)
def test_the_new_place_is_where_verl_moves_a_key(older, newer):
    (warning,) = older_reward.warnings(compose(older))
    assert warning.endswith(f"; set {newer}")
    moved = older_reward.moved(compose(older, main=FULLY_ASYNC))
    assert str(OmegaConf.select(moved, newer)) == older.partition("=")[2]


def test_a_main_that_moves_them_is_followed():
    config = compose(*OLDER, main=FULLY_ASYNC)
    assert list(older_reward.warnings(config)) == []
    moved = older_reward.moved(config)
    assert moved.reward.custom_reward_function.path == "/mine.py"
    assert moved.reward.reward_manager.name == "dapo"
    # The run's own configuration stays as it is.
    assert config.custom_reward_function.path == "/mine.py"


def test_nothing_set_is_nothing_said_and_a_moved_configuration_stays():
    assert list(older_reward.warnings(compose())) == []
    moved = older_reward.moved(compose())
    assert older_reward.moved(moved) is moved
    assert list(older_reward.warnings(moved)) == []
