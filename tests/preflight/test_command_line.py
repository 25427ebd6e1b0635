"""Command lines of verl's trainer, composed by Hydra."""

import pytest
from omegaconf import OmegaConf

from frpo_verl.preflight import command_line

pytest.importorskip("verl")


def compose(*arguments):
    return command_line.compose(command_line.parse(list(arguments)))


def test_it_is_what_main_ppo_gets():
    config, problems = compose(
        "algorithm.adv_estimator=frpo", "+mine.key=3", "hydra.run.dir=x", "model_engine=megatron"
    )
    assert problems == []
    assert (config.algorithm.adv_estimator, config.mine.key, "hydra" in config) == ("frpo", 3, False)
    assert config.actor_rollout_ref.actor.strategy == "megatron"


@pytest.mark.parametrize(
    ("main", "section", "value"),
    [
        ("verl.experimental.one_step_off_policy.main_ppo", "actor_rollout_ref.rollout.free_cache_engine", False),
        ("verl.experimental.fully_async_policy.fully_async_main", "async_training.require_batches", 1),
    ],
)
@pytest.mark.parametrize("engine", ["dp", "megatron"])
def test_every_main_has_its_own_configuration(main, section, value, engine):
    name = {"dp": [], "megatron": ["model_engine=megatron"]}[engine]
    config, problems = compose(
        *f"FRPO=1 python3 -m {main}".split(),
        "hydra.searchpath=[pkg://verl.trainer.config]",
        "rollout.n_gpus_per_node=2",
        *name,
    )
    assert problems == []
    assert OmegaConf.select(config, section) == value
    assert config.rollout.n_gpus_per_node == 2
    assert config.actor_rollout_ref.actor.strategy.startswith("fsdp" if engine == "dp" else "megatron")


def test_our_primary_configuration_is_found_from_every_main():
    config, problems = compose("verl.trainer.main_ppo", "--config-name", "frpo_trainer", "algorithm.frpo.horizon=3")
    assert problems == []
    assert (config.algorithm.adv_estimator, config.algorithm.frpo.horizon) == ("frpo", 3)


@pytest.mark.parametrize(
    ("main", "sentence"),
    [
        ("verl.trainer.main_pro", "there is no such module; correct it, for instance to verl.trainer.main_ppo"),
        ("no_such.main", "there is no such module; correct it, for instance to verl.trainer.main_ppo"),
        ("verl.trainer.constants_ppo", "it has no @hydra.main; name the module of one of verl's mains"),
    ],
)
def test_a_main_that_is_not_there_is_one_sentence(main, sentence):
    assert compose("python", "-m", main, "a=b") == (None, [f"{main}: {sentence}"])


def test_a_pasted_command_is_understood():
    line = command_line.parse("python3 -m verl.trainer.main_ppo --config-name=ppo_megatron_trainer.yaml a=b".split())
    assert (line.config_name, line.overrides) == ("ppo_megatron_trainer.yaml", ["a=b"])


def test_hydras_other_options_are_bad_usage():
    with pytest.raises(SystemExit) as ended:
        command_line.parse(["--multirun", "a=b"])
    assert ended.value.code == 2


@pytest.mark.parametrize("option", ["--config-dir", "--config-path"])
def test_configurations_of_ones_own_are_found(tmp_path, option):
    (tmp_path / "mine.yaml").write_text("algorithm:\n  gamma: 0.5\n")
    config, problems = compose(option, str(tmp_path), "--config-name", "mine")
    assert (config, problems) == ({"algorithm": {"gamma": 0.5}}, [])


def test_a_folder_of_ones_own_is_searched_after_that_of_the_main(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "short.yaml").write_text("# @package algorithm\ngamma: 0.25\n")
    config, problems = compose("--config-dir", str(tmp_path), "+mine=short", "hydra.searchpath=[pkg://hydra.conf]")
    assert (problems, config.algorithm.gamma, config.algorithm.lam) == ([], 0.25, 1.0)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "algorithm.kl_penatly=k3",
            "the configuration has no key algorithm.kl_penatly; the nearest is algorithm.kl_pen",
        ),
        ("algorithm.kl_coef=1", "the nearest is algorithm.kl_ctrl.kl_coef (+algorithm.kl_coef=1 adds"),
        (
            "algorithm.frpo.horizon=4",
            "verl's own configuration has no such key; write +algorithm.frpo.horizon=4, or use frpo_trainer",
        ),
        ("algorithm.kl_mode=future", "verl's own configuration has no such key; write +algorithm.kl_mode=future, or"),
        ("~algorithm.gama", "the configuration has no key algorithm.gama; the nearest is algorithm.gamma"),
        ("algorithm.gamma", "hydra cannot read it (missing EQUAL"),
        ("algorithm.gamma=[1,", "hydra cannot read it (no viable alternative"),
        ("+algorithm.gamma=1", "An item is already at 'algorithm.gamma'"),
        ("algorithm.gamma=1,2", "Ambiguous value for argument 'algorithm.gamma=1,2'"),
        ("critic=foo", "Could not find 'critic/foo' Available options in 'critic': critic dp_critic"),
    ],
)
def test_what_hydra_refuses_is_one_sentence(override, sentence):
    config, (problem,) = compose("algorithm.lam=0.9", override)
    assert config is None
    assert problem.startswith(f"{override}: ")
    assert sentence in problem
    assert "\n" not in problem


def test_every_refused_override_is_named():
    config, problems = compose("algorithm.lam=0.9", "algorithm.gama=1", "algorithm.lamb=1", "data")
    assert config is None
    assert sorted(problem.split(":")[0] for problem in problems) == ["algorithm.gama=1", "algorithm.lamb=1", "data"]


def test_an_unknown_configuration_is_named_with_the_nearest():
    config, (problem,) = compose("--config-name", "ppo_trainr")
    assert config is None
    assert problem.startswith("--config-name=ppo_trainr: no such configuration in ")
    assert "/verl/trainer/config; the nearest is ppo_trainer, of evaluation, " in problem


def test_a_path_may_be_a_package():
    config, problems = compose("--config-path=pkg://verl.trainer.config", "--config-name=ppo_megatron_trainer")
    assert problems == [] and config.actor_rollout_ref.actor.strategy == "megatron"


@pytest.mark.parametrize(
    "option", ["--config-path=nowhere", "--config-path=/nowhere", "--config-path=pkg://nowhere.at_all"]
)
def test_a_path_that_is_not_there_is_one_sentence(option):
    config, (problem,) = compose(option)
    assert config is None
    assert "nowhere" in problem and "\n" not in problem
