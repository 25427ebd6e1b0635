"""Measures, on enumerated policies, what start-up says of settings that change the meaning of the term."""

import itertools
import math
import re
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from benchmarks import staleness
from omegaconf import OmegaConf
from oracles import (
    expected_divergence,
    log_ratios,
    return_to_go,
    score_function_gradient,
    tiny_policy,
    weighted_score,
)
from regulariser_oracles import relative_error

from frpo_verl.preflight import examination, meaning

verl = pytest.importorskip("verl")

K1 = (lambda d: d, lambda d: d, lambda u: -torch.log(u))
K3 = (lambda d: d, lambda d: math.exp(-d) + d - 1, lambda u: -torch.log(u) + u - 1)
"""Local part, future part, f."""

REWARDS = {
    0.48: lambda response: response[0] == 1,
    0.07: lambda response: response[0] == 0 and len(response) == 3,
}
"""By the share of responses that are right."""


def of_regulariser(kind, policy, reference):
    """reg of every token of a response, and the gradient of the expected divergence by autograd."""
    local, future, f = kind

    def reg(response):
        delta = log_ratios(policy, reference, response)
        return return_to_go([delta], [[True] * len(delta)], local, future)[0]

    return reg, torch.autograd.grad(expected_divergence(policy, reference, f), policy.logits)[0]


def policies():
    return tiny_policy(1), tiny_policy(2, requires_grad=False)


@pytest.mark.parametrize(("kind", "size"), list(zip((K1, K3), meaning.SIZES.averaged, strict=True)))
def test_the_mean_over_a_response_is_another_gradient(kind, size):
    policy, reference = policies()
    reg, exact = of_regulariser(kind, policy, reference)
    assert relative_error(score_function_gradient(policy, reg), exact) < 1e-10

    def averaged(response):
        return [sum(reg(response)) / len(response)] * len(response)

    assert relative_error(score_function_gradient(policy, averaged), exact) == pytest.approx(size, abs=0.005)


@pytest.mark.parametrize(("share", "size"), list(zip(REWARDS, meaning.SIZES.dropped, strict=True)))
def test_groups_that_are_dropped_take_their_part_of_the_regulariser_with_them(share, size):
    policy, reference = policies()
    reg, exact = of_regulariser(K1, policy, reference)
    reward = REWARDS[share]
    right = sum(p.item() for response, p in policy.responses() if reward(response))
    assert right == pytest.approx(share, abs=0.01)
    # of a group of four, where the other three are not all like this one
    kept = {True: 1 - right**3, False: 1 - (1 - right) ** 3}
    all_kept = 1 - right**4 - (1 - right) ** 4

    def weights(response):
        return [kept[bool(reward(response))] / all_kept * value for value in reg(response)]

    assert relative_error(score_function_gradient(policy, weights), exact) == pytest.approx(size, abs=0.005)


def nucleus(policy, prefix, top_p: float) -> list[float]:
    """Probabilities of the next token of a server that samples from the likeliest of `top_p` together."""
    probabilities = torch.softmax(policy.logits[policy.row(prefix)].detach(), 0).tolist()
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    before = list(itertools.accumulate([0.0, *(probabilities[token] for token in order)]))
    left = [token for token, mass in zip(order, before, strict=False) if mass < top_p]
    return [probabilities[token] / sum(probabilities[t] for t in left) * (token in left) for token in range(3)]


def test_truncated_samples_are_another_policys():
    policy, reference = policies()
    reg, exact = of_regulariser(K1, policy, reference)
    found = torch.zeros_like(exact)
    for response, _ in policy.responses():
        steps = range(len(response))
        drawn = math.prod(nucleus(policy, response[:t], 0.8)[response[t]] for t in steps)
        found += drawn * weighted_score(policy, response, reg(response))
    assert relative_error(found, exact) == pytest.approx(meaning.SIZES.truncated, abs=0.005)


@pytest.mark.parametrize(("bypass", "size"), list(zip((False, True), meaning.SIZES.served, strict=True)))
def test_the_servers_log_probs_are_another_policys(bypass, size):
    assert staleness.served(1, 0.1, bypass)["`kl=rollout`"] == pytest.approx(size, abs=0.0005)


@pytest.fixture(scope="module")
def verls():
    """verl's own configuration, composed once."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", ["algorithm.adv_estimator=frpo"])


@pytest.fixture
def changed(verls):
    """Returns that configuration with overrides."""

    def of(*overrides: str):
        config = deepcopy(verls)
        OmegaConf.set_struct(config, False)
        return OmegaConf.merge(config, OmegaConf.from_dotlist([override.lstrip("+") for override in overrides]))

    return of


@pytest.fixture
def said(changed):
    """Returns the warnings of a command line that are not about something else."""
    return lambda *overrides: list(meaning.warnings(changed(*overrides)))


GEO_MEAN = "actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean"
FILTER = ("+algorithm.filter_groups.enable=True", "+algorithm.filter_groups.metric=acc")
ADAPTIVE = ("algorithm.kl_ctrl.type=adaptive", "data.train_batch_size=256", "actor_rollout_ref.rollout.n=5")
BYPASS = "algorithm.rollout_correction.bypass_mode=True"
STALE = "trainer.v1.trainer_mode=separate_async"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([GEO_MEAN], "geo_mean gives every token its response's mean advantage, and .* off by 28% (kl) to 39% (k3)"),
        (
            FILTER,
            "filter_groups.enable=True drops groups .* off by 3% where 48% of responses are right and 47% where 7%",
        ),
        (["actor_rollout_ref.rollout.top_p=0.95"], "rollout.top_p=0.95 samples from another policy .* off by 31%"),
        (["actor_rollout_ref.rollout.top_k=50"], "rollout.top_k=50 samples from another policy"),
        ([BYPASS], "sums their mismatch over the whole response: .* off by 14% instead of 6%"),
        # 1 − 0.2·1280/10000 at each of 50 steps
        (
            [*ADAPTIVE, "algorithm.kl_ctrl.kl_coef=0.01", "trainer.critic_warmup=50"],
            "each step takes β down by 2.56%, to 0.00273; set",
        ),
        ([*ADAPTIVE, STALE], "kl_penalty=kl and samples from older weights: .* takes β down by 2.56% a step; set"),
    ],
    ids=str,
)
def test_each_is_said_with_its_size(said, overrides, sentence):
    (warning,) = said(*overrides)
    assert re.search(sentence.replace("(", r"\(").replace(")", r"\)"), warning), warning
    # without the term nothing is changed
    assert said(*overrides, "algorithm.kl_ctrl.type=fixed", "algorithm.kl_ctrl.kl_coef=0") == []


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["actor_rollout_ref.rollout.top_p=1.0", "actor_rollout_ref.rollout.top_k=0"],
        ["+algorithm.filter_groups.enable=False"],
        ["actor_rollout_ref.actor.policy_loss.loss_mode=gspo"],
        [*ADAPTIVE],
        [*ADAPTIVE, STALE, "algorithm.kl_penalty=k3"],
        # not its log-probs are summed there; a loss that is anchored on them
        [BYPASS, "+algorithm.frpo.kl=current"],
        [BYPASS, "actor_rollout_ref.actor.policy_loss.loss_mode=dppo_tv"],
        # V0 does not read the mode
        [*ADAPTIVE, STALE, "trainer.use_v1=False"],
        ["trainer.critic_warmup=50", STALE],
        # wrong settings are problems
        ["algorithm.kl_penalty=wasserstein", GEO_MEAN],
    ],
    ids=str,
)
def test_what_changes_nothing_is_not_named(said, overrides):
    assert said(*overrides) == []


@pytest.mark.parametrize("section", ["rollout", "async_training"])
def test_verls_other_asynchronous_trainers_are_known_by_their_sections(said, section):
    (warning,) = said(*ADAPTIVE, f"+{section}.nnodes=1")
    assert "samples from older weights" in warning


def test_the_decay_is_that_of_verls_controller(said):
    from verl.trainer.ppo.core_algos import AdaptiveKLController

    control = AdaptiveKLController(0.01, 0.1, 10000)
    for _ in range(50):
        control.update(current_kl=0.0, n_steps=1280)
    (warning,) = said(*ADAPTIVE, "algorithm.kl_ctrl.kl_coef=0.01", "trainer.critic_warmup=50")
    assert f"to {control.value:.3g};" in warning


def test_a_start_says_them(changed, said):
    warnings = examination.examine(changed(GEO_MEAN), look_at_machine=False, starting=True).warnings
    assert [line for line in warnings if "geo_mean" in line] == said(GEO_MEAN)
