"""The plugin in fresh processes: both routes, failures, and hosts that do not fit."""

import pytest
from fresh import python
from packaging.version import Version

pytest.importorskip("verl")

from frpo_verl.preflight import contract  # noqa: E402

pytestmark = pytest.mark.slow

IS_REGISTERED = (
    "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn; "
    "print(get_adv_estimator_fn('frpo').__module__)"
)

HAS_ENTRY_POINTS = Version(contract.verl_version()) >= Version("0.9")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"VERL_USE_EXTERNAL_PLUGINS": "none", "VERL_USE_EXTERNAL_MODULES": "frpo_verl.verl_plugin"},
        {"VERL_USE_EXTERNAL_MODULES": "frpo_verl.verl_plugin"},
    ],
    ids=["entry point", "external module", "both routes"],
)
def test_importing_verl_registers_the_estimator(environment):
    if not environment and not HAS_ENTRY_POINTS:
        pytest.skip("verl 0.8 knows no entry points")
    assert python(IS_REGISTERED, **environment).stdout.strip() == "frpo_verl.verl_plugin.estimator"


def test_a_plugin_loaded_after_verls_trainer_still_works():
    program = (
        "import verl.trainer.ppo.v1.utils as utils; before = utils.compute_advantage; "
        "import frpo_verl.verl_plugin; print(before is utils.compute_advantage); "
        "from verl.trainer.ppo.core_algos import get_adv_estimator_fn; get_adv_estimator_fn('frpo')"
    )
    ended = python(program, VERL_USE_EXTERNAL_PLUGINS="none")
    assert (ended.returncode, ended.stdout.strip()) == (0, "False")


def test_a_plugin_that_does_not_load_says_so_on_stderr():
    program = (
        "import importlib.metadata as m; real = m.version; "
        "m.version = lambda name: '0.7.0' if name == 'verl' else real(name); import verl"
    )
    ended = python(program, FRPO_VERL_STRICT="1")
    assert ended.returncode == 0
    assert "frpo-verl: the plugin did not load: verl 0.7.0 is not tested with this frpo-verl; install" in ended.stderr


def test_a_missing_dependency_says_so_on_stderr():
    ended = python("import sys; sys.modules['wrapt'] = None; import verl")
    assert ended.returncode == 0
    assert "frpo-verl: the plugin did not load: " in ended.stderr


def test_without_verl_and_all_that_comes_with_it_there_is_one_sentence():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['verl', 'omegaconf', 'hydra', 'ray', 'psutil', 'zmq'])); "
        "import importlib.metadata as m; real = m.version\n"
        "def version(name):\n"
        "    if name == 'verl': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "import frpo_verl.verl_plugin"
    )
    ended = python(program)
    assert "frpo-verl: the plugin did not load: verl is not installed; pip install 'verl==0.9.1'" in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith("frpo_verl.preflight.errors.HostError: verl is not")


def test_an_untested_verl_is_named_once_and_runs():
    program = (
        "import importlib.metadata as m; real = m.version; "
        "m.version = lambda name: '0.9.7' if name == 'verl' else real(name); " + IS_REGISTERED
    )
    ended = python(program)
    assert ended.stdout.strip() == "frpo_verl.verl_plugin.estimator"
    assert ended.stderr.count("verl 0.9.7 is not tested with this frpo-verl") == 1


def test_a_changed_host_function_is_named_and_left_alone_and_frpo_is_refused():
    program = """
import verl.trainer.ppo.utils as utils
utils.need_reference_policy = changed = lambda everything: False
import frpo_verl.verl_plugin
from frpo_verl.preflight import contract
print(utils.need_reference_policy is changed, len(contract.problems))
contract.refuse_if_changed()
"""
    ended = python(program, VERL_USE_EXTERNAL_PLUGINS="none")
    assert ended.stdout.strip() == "True 1"
    assert ended.stderr.strip().splitlines()[-1].startswith("frpo_verl.preflight.errors.HostError: verl")
    assert "verl.trainer.ppo.utils.need_reference_policy has no parameter config; install verl" in ended.stderr


def test_a_host_with_a_frpo_of_its_own_keeps_it_and_one_of_somebody_elses_is_refused():
    program = """
import torch, numpy
from verl import DataProto
from verl.trainer.ppo import core_algos
def own(token_level_rewards, **rest):
    return token_level_rewards, token_level_rewards
own.__module__ = MODULE
core_algos.register_adv_est("frpo")(own)
import frpo_verl.verl_plugin
from verl.trainer.ppo.ray_trainer import compute_advantage
ones = torch.ones(2, 3)
data = DataProto.from_dict(tensors={"token_level_rewards": ones, "response_mask": ones})
print(compute_advantage(data, adv_estimator="frpo", config={}).batch["advantages"].tolist())
"""
    verls = python(program.replace("MODULE", "core_algos.__name__"), VERL_USE_EXTERNAL_PLUGINS="none")
    assert verls.stdout.strip() == "[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]", verls.stderr
    somebodys = python(program.replace("MODULE", "'mine'"), VERL_USE_EXTERNAL_PLUGINS="none")
    assert "HostError: adv_estimator=frpo: mine has registered an estimator of that name" in somebodys.stderr


@pytest.mark.parametrize("platform", ["", "cpu"])
def test_a_process_with_a_gpu_loads_nothing_of_the_cpu_platform(platform):
    program = (
        "import sys, frpo_verl.verl_plugin; "
        "print(any(name.startswith('frpo_verl.verl_plugin.cpu') for name in sys.modules))"
    )
    ended = python(program, VERL_USE_EXTERNAL_PLUGINS="none", VERL_PLATFORM=platform)
    assert ended.stdout.strip() == str(platform == "cpu")
