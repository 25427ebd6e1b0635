import math

import pytest
from omegaconf import OmegaConf

from frpo_verl.divergences import REVERSE_KL
from frpo_verl.verl_plugin import settings
from frpo_verl.verl_plugin.errors import SettingsError


def algorithm(**changes):
    base = {"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": 0.001}}
    return OmegaConf.merge(OmegaConf.create(base), OmegaConf.create(changes))


def test_reads_verls_own_keys():
    assert settings.read(algorithm(kl_ctrl={"kl_coef": 0.25})) == settings.Settings(0.25, REVERSE_KL)


def test_verls_default_coefficient_stands():
    pytest.importorskip("verl")
    from verl.trainer.config import AlgoConfig

    assert settings.read(AlgoConfig(adv_estimator="frpo")) == settings.Settings(0.001, REVERSE_KL)


@pytest.mark.parametrize(("estimator", "asks"), [("frpo", True), ("grpo", False), ("gae", False)])
def test_only_frpo_asks_for_frpo(estimator, asks):
    assert settings.asks_for_frpo(algorithm(adv_estimator=estimator)) is asks


@pytest.mark.parametrize("beta", [-0.1, math.nan, math.inf, None, "0.1"])
def test_a_coefficient_that_is_no_weight_is_refused(beta):
    with pytest.raises(SettingsError, match=r"algorithm\.kl_ctrl\.kl_coef=.*: frpo needs a finite number"):
        settings.read(algorithm(kl_ctrl={"kl_coef": beta}))


def test_an_unknown_divergence_names_the_nearest():
    with pytest.raises(SettingsError, match=r"algorithm\.kl_penalty: unknown divergence 'kl1': did you mean"):
        settings.read(algorithm(kl_penalty="kl1"))


def test_an_adaptive_coefficient_is_refused():
    with pytest.raises(SettingsError, match=r"algorithm\.kl_ctrl\.type=adaptive: .*set algorithm\.kl_ctrl\.type=fixed"):
        settings.read(algorithm(kl_ctrl={"type": "adaptive"}))
