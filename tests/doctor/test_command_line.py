"""Command lines of verl's trainer, composed by Hydra."""

import pytest

from frpo_verl.doctor import command_line

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
    assert problem.startswith(
        "--config-name=ppo_trainr: no such configuration in config; the nearest is ppo_trainer, of"
    )


@pytest.mark.parametrize("option", ["--config-path=nowhere", "--config-path=/nowhere"])
def test_a_path_that_is_not_there_is_one_sentence(option):
    config, (problem,) = compose(option)
    assert config is None
    assert "nowhere" in problem and "\n" not in problem
