"""Every variant against a loop."""

import mode_oracles
import pytest
import torch

from frpo_verl.advantage import return_to_go, traced_return_to_go
from frpo_verl.advantage.variant import Variant, divergence_to_go, formed, is_plain
from frpo_verl.divergences import by_name

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
    variant = Variant(form=form, token_clip=clip, **changes)
    found = divergence_to_go(delta, mask, formed(by_name(name), variant), variant, torch.tensor([0, 0, 0, 1, 1, 1]))
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
    variant = Variant()
    assert is_plain(variant)
    delta, mask = torch.randn(3, 5), torch.ones(3, 5)
    k3 = by_name("k3")
    assert formed(k3, variant) is k3
    found = divergence_to_go(delta, mask, k3, variant, None)
    assert torch.equal(found, return_to_go(delta, mask, k3))


@pytest.mark.parametrize("baseline", ["fitted", "loo_position"])
def test_a_baseline_of_the_whole_weight_leaves_the_sum_as_it_is(baseline):
    variant = Variant(baseline=baseline)
    assert is_plain(variant)
    delta, mask = torch.randn(3, 5), torch.ones(3, 5)
    assert torch.equal(
        divergence_to_go(delta, mask, by_name("k3"), variant, None), return_to_go(delta, mask, by_name("k3"))
    )


def test_ratios_are_looked_at_where_the_key_asks_for_it():
    delta, importance, mask = torch.randn(3, 5), torch.randn(3, 5), torch.ones(3, 5)
    k3, vtrace = by_name("k3"), Variant(kl="current", stale="vtrace", scale="length")
    traced = traced_return_to_go(delta, importance, mask, k3) / 5
    assert torch.equal(divergence_to_go(delta, mask, k3, vtrace, None, log_importance=importance), traced)
    plain = return_to_go(delta, mask, k3)
    # in the trainer, where the policy is the one that sampled
    assert torch.equal(divergence_to_go(delta, mask, k3, vtrace, None), plain / 5)
    assert torch.equal(divergence_to_go(delta, mask, k3, Variant(), None, log_importance=importance), plain)


@pytest.mark.parametrize("changes", CHANGES[1:], ids=str)
def test_what_is_changed_does_not_take_the_plain_way(changes):
    assert not is_plain(Variant(**changes))
