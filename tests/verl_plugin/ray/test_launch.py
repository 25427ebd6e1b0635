"""From the command line to Ray: what is checked, and how every worker comes to load the plugin."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import refused
from omegaconf import OmegaConf

from frpo_verl import __version__
from frpo_verl.preflight import megatron_layout, regulariser
from frpo_verl.preflight.environment import PLUGIN
from frpo_verl.verl_plugin.ray import launch

verl = pytest.importorskip("verl")
pytestmark = pytest.mark.usefixtures("verls_defaults_are_there")


@pytest.fixture
def compose():
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        yield lambda name, *overrides: compose(
            name,
            [
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=4",
                *overrides,
            ],
        )


def runtime_env(config) -> dict[str, str]:
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    try:
        made = get_ppo_ray_runtime_env(config)
    except TypeError:
        pytest.skip("verl 0.8 passes no configuration here")
    return made["env_vars"]


def test_every_worker_is_told_to_load_the_plugin_or_die(compose, monkeypatch):
    monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", "another.module")
    variables = runtime_env(compose("frpo_trainer"))
    assert variables["VERL_USE_EXTERNAL_MODULES"] == "another.module,frpo_verl.verl_plugin"
    assert variables[launch.DRIVERS_VERSION] == __version__


def test_other_runs_are_left_alone(compose, monkeypatch):
    monkeypatch.delenv("VERL_USE_EXTERNAL_MODULES", raising=False)
    variables = runtime_env(compose("ppo_trainer", "algorithm.adv_estimator=grpo"))
    assert not {"VERL_USE_EXTERNAL_MODULES", launch.DRIVERS_VERSION} & set(variables)


def test_strictness_reaches_the_workers(compose, monkeypatch):
    monkeypatch.setenv("FRPO_VERL_STRICT", "1")
    assert runtime_env(compose("frpo_trainer"))["FRPO_VERL_STRICT"] == "1"


def test_a_host_that_passes_no_configuration_gets_the_plugin_in_its_workers():
    # verl 0.8; there it was loaded because somebody named it
    assert PLUGIN in launch.with_plugin_in_workers(lambda: {})["env_vars"]["VERL_USE_EXTERNAL_MODULES"]


def test_the_cpu_platform_reaches_nodes_that_were_started_without_it(compose, monkeypatch):
    monkeypatch.setattr(launch, "_check", lambda config: False)
    assert "VERL_PLATFORM" not in runtime_env(compose("ppo_trainer"))
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    assert runtime_env(compose("ppo_trainer"))["VERL_PLATFORM"] == "cpu"


def test_a_configuration_without_an_algorithm_is_none_of_our_business():
    # verl's other mains, supervised fine-tuning for one
    assert launch.with_plugin_in_workers(lambda config: {}, OmegaConf.create({"trainer": {}})) == {}
    assert launch.checked_before_validation(lambda config: "theirs", OmegaConf.create({"trainer": {}})) == "theirs"


def submit_as_job(monkeypatch, **variables: str) -> None:
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    monkeypatch.setenv(RAY_JOB_CONFIG_JSON_ENV_VAR, json.dumps({"runtime_env": {"env_vars": variables}}))


def test_variables_of_a_submitted_job_are_not_repeated(compose, monkeypatch):
    submit_as_job(monkeypatch, VERL_USE_EXTERNAL_MODULES=f"another.module,{PLUGIN}", OTHER="1")
    monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", f"another.module,{PLUGIN}")
    variables = runtime_env(compose("frpo_trainer"))
    assert "VERL_USE_EXTERNAL_MODULES" not in variables
    assert variables[launch.DRIVERS_VERSION] == __version__


def test_ray_would_refuse_a_variable_that_the_job_has_already():
    from ray.runtime_env.runtime_env import _merge_runtime_env as merge

    job, repeated = {"env_vars": {"A": "1"}}, {"env_vars": {"A": "1"}}
    assert merge(job, repeated) is None
    assert merge(job, {"env_vars": {"B": "1"}}) == {"env_vars": {"A": "1", "B": "1"}}


def test_a_submitted_job_that_keeps_the_plugin_out_is_refused(compose, monkeypatch):
    submit_as_job(monkeypatch, VERL_USE_EXTERNAL_MODULES="another.module")
    sentence = (
        r"VERL_USE_EXTERNAL_MODULES='another\.module' in the Ray job's runtime_env leaves the plugin out; add frpo"
    )
    with pytest.raises(SystemExit, match=sentence):
        runtime_env(compose("frpo_trainer"))


def test_what_will_run_and_what_is_doubtful_is_said_once(compose, capsys, monkeypatch):
    monkeypatch.setattr(launch, "_said", set())
    config = compose("frpo_trainer", "algorithm.kl_ctrl.kl_coef=0.123", "actor_rollout_ref.actor.use_kl_loss=True")
    assert launch._check(config)
    said = capsys.readouterr()
    assert "beta=0.123" in said.out and "warning: actor_rollout_ref.actor.use_kl_loss=True" in said.err
    assert launch._check(config)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_mains_that_never_validate_are_checked_on_the_way_to_ray(compose):
    config = compose("frpo_trainer", "algorithm.frpo.horizon=-1")
    with pytest.raises(SystemExit, match=r"frpo-verl: algorithm\.frpo\.horizon=-1: set a number of tokens"):
        runtime_env(config)


def test_a_worker_with_another_version_dies_with_both_names(monkeypatch):
    environment = {**os.environ, launch.DRIVERS_VERSION: "9.9.9", "VERL_USE_EXTERNAL_MODULES": PLUGIN}
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", "import verl"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert ended.returncode != 0
    assert f"frpo-verl {__version__} on " in ended.stderr
    assert "but 9.9.9 where the run was started; install the same version on every node" in ended.stderr


def test_a_worker_without_the_plugin_dies_with_its_name():
    program = "import sys; sys.modules['frpo_verl'] = None; import verl"
    environment = {**os.environ, "VERL_USE_EXTERNAL_MODULES": PLUGIN}
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert ended.returncode != 0
    assert "frpo_verl" in ended.stderr.strip().splitlines()[-1]


def test_a_command_line_that_keeps_the_plugin_out_of_the_workers_is_refused(compose):
    config = compose(
        "frpo_trainer", "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES=another.module"
    )
    (problem,) = refused(config)
    assert "'another.module' replaces what makes every worker load" in problem


@pytest.mark.parametrize("name", ["frpo_trainer", "frpo_megatron_trainer"])
def test_the_primary_configurations_need_no_plus_and_have_no_problem(compose, name, monkeypatch):
    # What is installed is another matter.
    monkeypatch.setattr(megatron_layout, "_is_there", lambda module: True)
    config = compose(
        name,
        "algorithm.kl_mode=future",
        "algorithm.frpo.form=appendix_e",
        "algorithm.frpo.kl=current",
        "algorithm.kl_penalty=k3",
        "algorithm.kl_ctrl.type=adaptive",
    )
    assert refused(config) == []
    assert list(regulariser.warnings(config)) == []
    assert (config.algorithm.adv_estimator, config.algorithm.kl_ctrl.kl_coef) == ("frpo", 0.01)
    assert config.actor_rollout_ref.rollout.n == 5
    strategy = "megatron" if "megatron" in name else "fsdp"
    assert config.actor_rollout_ref.actor.strategy.startswith(strategy)


def test_every_key_of_the_primary_configuration_is_documented():
    from frpo_verl.verl_plugin import config

    lines = (Path(config.__file__).parent / "frpo_trainer.yaml").read_text().splitlines()
    keys = [
        (number, line.strip())
        for number, line in enumerate(lines)
        if line.startswith("  ") and not line.strip().startswith(("#", "-")) and not line.rstrip().endswith(":")
    ]
    assert len(keys) > 15
    undocumented = [key for number, key in keys if not lines[number - 1].strip().startswith("#")]
    assert undocumented == []


def test_turning_the_mode_off_in_the_primary_configuration_leaves_verls_estimator(compose):
    config = compose("frpo_trainer", "algorithm.adv_estimator=rloo", "algorithm.kl_mode=null")
    assert refused(config) == []
    assert OmegaConf.select(config, "algorithm.frpo.form") == "theorem"
