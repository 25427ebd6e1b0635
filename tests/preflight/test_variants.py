"""`algorithm.frpo`: its defaults, and what it refuses."""

import dataclasses
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import frpo_verl
from frpo_verl.advantage.variant import Variant
from frpo_verl.preflight import variants
from frpo_verl.preflight.errors import SettingsError


def test_the_configuration_holds_every_key_with_its_default():
    file = Path(frpo_verl.__file__).parent / "verl_plugin" / "config" / "frpo_trainer.yaml"
    assert dict(OmegaConf.load(file).algorithm.frpo) == dataclasses.asdict(Variant())


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"horizn": 3}, r"algorithm\.frpo\.horizn: there is no such key; the nearest is algorithm\.frpo\.horizon"),
        ({"kl_mode": "future"}, r"algorithm\.frpo\.kl_mode: there is no such key"),
        ({"form": "paper"}, r"algorithm\.frpo\.form=paper: set it to theorem or appendix_e"),
        ({"kl": "stale"}, r"algorithm\.frpo\.kl=stale: set it to rollout or current"),
        ({"baseline": True}, r"algorithm\.frpo\.baseline=True: set it to none or length"),
        ({"centring": "batch"}, r"algorithm\.frpo\.centring=batch: set it to none or group"),
        ({"scale": "std"}, r"algorithm\.frpo\.scale=std: set it to none or length"),
        ({"step_value": "middle"}, r"algorithm\.frpo\.step_value=middle: set it to start or end"),
        ({"std": "biased"}, r"algorithm\.frpo\.std=biased: set it to sample or population"),
        ({"horizon": -1}, r"algorithm\.frpo\.horizon=-1: set a number of tokens, 0 or more"),
        ({"horizon": 2.5}, r"algorithm\.frpo\.horizon=2\.5: set a number of tokens"),
        ({"horizon": True}, r"algorithm\.frpo\.horizon=True: set a number of tokens"),
        ({"step_length": 0}, r"algorithm\.frpo\.step_length=0: set a number of tokens, 1 or more"),
        ({"discount": 1.1}, r"algorithm\.frpo\.discount=1\.1: set a number from 0 to 1"),
        ({"discount": None}, r"algorithm\.frpo\.discount=None: set a number from 0 to 1"),
        ({"token_clip": 0}, r"algorithm\.frpo\.token_clip=0: set a positive number of nats"),
        ({"token_clip": "ten"}, r"algorithm\.frpo\.token_clip=ten: set a positive number of nats"),
        ({"token_clip": float("inf")}, r"algorithm\.frpo\.token_clip=inf: set a positive number of nats"),
        ({"horizon": 3, "discount": 0.5}, r"horizon=3 and discount=0\.5: two ways to shorten the sum"),
        ({"baseline": "length", "horizon": 3}, r"baseline=length with a horizon or a discount"),
        ({"stale": "rho"}, r"algorithm\.frpo\.stale=rho: set it to none or vtrace"),
        (
            {"stale": "vtrace"},
            r"stale=vtrace with kl=rollout: .* every importance ratio is 1; set algorithm\.frpo\.kl=",
        ),
        ({"kl": "current", "stale": "vtrace", "horizon": 3}, r"stale=vtrace with a horizon or a discount: its weights"),
        ({"kl": "current", "stale": "vtrace", "discount": 0.9}, r"stale=vtrace with a horizon or a discount"),
        ({"kl": "current", "centring": "group"}, r"centring=group with kl=current: it needs the other responses"),
        ({"kl": "current", "baseline": "length"}, r"baseline=length with kl=current: it needs the mean over the batch"),
        (
            {"baseline": "fitted", "centring": "group"},
            r"baseline=fitted with centring=group: the others' centred terms",
        ),
        ({"baseline": "loo_position", "centring": "group"}, r"baseline=loo_position with centring=group: the others'"),
        ("future", r"algorithm\.frpo=future: it must be a section with keys of form, kl, "),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused_with_the_key_the_value_and_the_fix(section, sentence):
    section = OmegaConf.create(section) if isinstance(section, dict) else section
    with pytest.raises(SettingsError, match=sentence) as error:
        variants.read(section)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", [{"horizon": 0}, {"step_length": 1}, {"discount": 0}, {"discount": 1}], ids=str)
def test_the_ends_of_a_range_are_in_it(section):
    assert dataclasses.asdict(variants.read(OmegaConf.create(section))) == dataclasses.asdict(Variant()) | section


def test_the_population_deviation_belongs_to_grpo():
    assert variants.read({"std": "population"}, estimator="grpo").std == "population"
    with pytest.raises(SettingsError, match=r"std=population with adv_estimator=rloo"):
        variants.read({"std": "population"}, estimator="rloo")


@pytest.mark.parametrize("estimator", ["gae", "gpg", "of_a_user", None])
def test_coefficients_from_other_prompts_need_advantages_that_do_not_look_at_this_one(estimator):
    with pytest.raises(SettingsError, match=rf"baseline=fitted with adv_estimator={estimator}: .*choose one of frpo, "):
        variants.read({"baseline": "fitted"}, estimator=estimator)
    assert variants.read({"baseline": "loo_position"}, estimator=estimator).baseline == "loo_position"


@pytest.mark.parametrize("baseline", ["fitted", "loo_position"])
def test_a_baseline_of_the_whole_weight_goes_with_the_current_policy(baseline):
    assert variants.read({"baseline": baseline, "kl": "current"}).kl == "current"
