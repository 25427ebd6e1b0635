"""`algorithm.frpo`: every key against a loop, and what it refuses."""

import dataclasses
from pathlib import Path

import mode_oracles
import pytest
import torch
from omegaconf import OmegaConf

import frpo_verl
from frpo_verl.advantage import return_to_go
from frpo_verl.divergences import by_name
from frpo_verl.preflight import variants
from frpo_verl.preflight.errors import SettingsError
from frpo_verl.preflight.variants import Variant

PAIRS = {"k1": mode_oracles.REVERSE_KL_K1, "k3": mode_oracles.REVERSE_KL_K3, "forward_k3": mode_oracles.FORWARD_KL}

CHANGES = [
    {},
    {"horizon": 0},
    {"horizon": 2},
    {"discount": 0.9},
    {"discount": 0.0},
    {"baseline": "length"},
    {"centring": "group"},
    {"scale": "length"},
    {"step_length": 2},
    {"step_length": 2, "step_value": "end"},
    {"horizon": 3, "centring": "group", "scale": "length", "step_length": 3, "step_value": "end"},
    {"baseline": "length", "centring": "group", "scale": "length", "step_length": 2},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("form", "clip"), [("theorem", None), ("appendix_e", None), ("theorem", 0.5)])
def test_every_key_does_what_the_definition_says(changes, name, form, clip):
    delta, mask = torch.randn(6, 8, dtype=torch.float64), torch.rand(6, 8) > 0.3
    variant = variants.read({"form": form, "token_clip": clip, **changes})
    found = variants.divergence_to_go(
        delta, mask, variants.formed(by_name(name), variant), variant, torch.tensor([0, 0, 0, 1, 1, 1])
    )
    pair = PAIRS[name]
    if form == "appendix_e":
        pair = mode_oracles.appendix_e(*pair)
    if clip is not None:
        pair = mode_oracles.token_clip(*pair, clip)
    expected = mode_oracles.divergence_to_go(
        delta.tolist(), mask.long().tolist(), *pair, **changes, group=[0, 0, 0, 1, 1, 1]
    )
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


def test_the_defaults_are_the_theorem():
    variant = variants.read(None)
    assert variants.is_plain(variant)
    delta, mask = torch.randn(3, 5), torch.ones(3, 5)
    k3 = by_name("k3")
    assert variants.formed(k3, variant) is k3
    found = variants.divergence_to_go(delta, mask, k3, variant, None)
    assert torch.equal(found, return_to_go(delta, mask, k3))


@pytest.mark.parametrize("changes", CHANGES[1:], ids=str)
def test_what_is_changed_does_not_take_the_plain_way(changes):
    assert not variants.is_plain(variants.read(changes))


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
        ({"kl": "current", "centring": "group"}, r"centring=group with kl=current: it needs the other responses"),
        ({"kl": "current", "baseline": "length"}, r"baseline=length with kl=current: it needs the mean over the batch"),
        ("future", r"algorithm\.frpo=future: it is a section; its keys are form, kl, "),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused_with_the_key_the_value_and_the_fix(section, sentence):
    section = OmegaConf.create(section) if isinstance(section, dict) else section
    with pytest.raises(SettingsError, match=sentence) as error:
        variants.read(section)
    assert "\n" not in str(error.value)


def test_the_population_deviation_belongs_to_grpo():
    assert variants.read({"std": "population"}, estimator="grpo").std == "population"
    with pytest.raises(SettingsError, match=r"std=population with adv_estimator=rloo"):
        variants.read({"std": "population"}, estimator="rloo")


def test_groups_are_numbered_in_the_order_of_their_first_response():
    assert variants.groups(["b", "a", "b"]).tolist() == [0, 1, 0]
