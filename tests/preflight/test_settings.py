import math

import pytest
from omegaconf import OmegaConf

from frpo_verl.advantage.variant import Variant
from frpo_verl.divergences import REVERSE_KL
from frpo_verl.preflight import settings
from frpo_verl.preflight.errors import SettingsError


def algorithm(**changes):
    base = {"adv_estimator": "frpo", "kl_penalty": "kl", "kl_ctrl": {"type": "fixed", "kl_coef": 0.001}}
    return OmegaConf.merge(OmegaConf.create(base), OmegaConf.create(changes))


def plain(beta: float) -> settings.Settings:
    return settings.Settings(beta, False, REVERSE_KL, "kl", Variant())


def test_reads_verls_own_keys():
    assert settings.read(algorithm(kl_ctrl={"kl_coef": 0.25})) == plain(0.25)


def test_verls_default_coefficient_stands():
    pytest.importorskip("verl")
    from verl.trainer.config import AlgoConfig

    assert settings.read(AlgoConfig(adv_estimator="frpo")) == plain(0.001)


@pytest.mark.parametrize(
    ("estimator", "mode", "asks"),
    [
        ("frpo", None, True),
        ("frpo", "future", True),
        ("grpo", None, False),
        ("gae", None, False),
        ("gae", "future", True),
    ],
)
def test_the_estimator_or_the_mode_asks_for_the_future_term(estimator, mode, asks):
    assert settings.asks_for_future(algorithm(adv_estimator=estimator, kl_mode=mode)) is asks
    assert settings.needs_reference(algorithm(adv_estimator=estimator, kl_mode=mode)) is asks
    assert not settings.needs_reference(algorithm(adv_estimator=estimator, kl_mode=mode, kl_ctrl={"kl_coef": 0}))


def test_a_host_that_passes_no_configuration_asks_for_nothing():
    assert not settings.asks_for_future(None)


def test_another_mode_is_refused():
    with pytest.raises(SettingsError, match=r"algorithm\.kl_mode=past: there is one mode, future; set \+algorithm"):
        settings.read(algorithm(kl_mode="past"))


@pytest.mark.parametrize("beta", [-0.1, math.nan, math.inf, None, "0.1"])
def test_a_coefficient_that_is_no_weight_is_refused(beta):
    with pytest.raises(SettingsError, match=r"algorithm\.kl_ctrl\.kl_coef=.*: frpo needs a finite number"):
        settings.read(algorithm(kl_ctrl={"kl_coef": beta}))


def test_an_unknown_divergence_names_the_nearest():
    with pytest.raises(SettingsError, match=r"algorithm\.kl_penalty: unknown divergence 'kl1': did you mean"):
        settings.read(algorithm(kl_penalty="kl1"))


def adaptive(**control):
    return algorithm(kl_ctrl={"type": "adaptive", "kl_coef": 0.01, "target_kl": 0.1, "horizon": 100, **control})


def test_an_adaptive_coefficient_is_read():
    assert settings.read(adaptive())._replace(variant=None) == plain(0.01)._replace(adaptive=True, variant=None)


@pytest.mark.parametrize(
    ("control", "sentence"),
    [
        ({"type": "linear"}, r"algorithm\.kl_ctrl\.type=linear: set it to fixed or adaptive"),
        ({"kl_coef": 0}, r"kl_coef=0 with type=adaptive: the controller multiplies β, and 0 stays 0; set"),
        ({"target_kl": 0}, r"target_kl=0 with type=adaptive: set a positive number of nats per token"),
        ({"target_kl": math.nan}, r"target_kl=nan with type=adaptive: set a positive number"),
        ({"horizon": -1}, r"horizon=-1 with type=adaptive: set a positive number of responses"),
    ],
    ids=str,
)
def test_a_controller_that_cannot_run_is_refused(control, sentence):
    with pytest.raises(SettingsError, match=sentence):
        settings.read(adaptive(**control))


def test_the_variant_is_part_of_the_settings():
    chosen = settings.read(algorithm(frpo={"form": "appendix_e", "horizon": 3}, kl_penalty="k3"))
    assert (chosen.variant.horizon, chosen.divergence) == (3, "k3")
    assert chosen.generator.local is chosen.generator.future
