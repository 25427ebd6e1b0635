"""Several updates per rollout, enumerated: what each placement does to the gradient, and the page's numbers."""

import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from benchmarks import staleness
from benchmarks.staleness import at_update, chain, chain_row, chain_terms, served, table, truncated

from frpo_verl.advantage import traced_return_to_go
from frpo_verl.divergences import REVERSE_KL

ROLLOUT, CURRENT, TRACED = "`kl=rollout`", "`kl=current`", "`kl=current`, `stale=vtrace`"
WHOLE = "whole products after and before t"
PAGE = (Path(__file__).parents[2] / "frpo_verl" / "advantage" / "staleness.md").read_text()
EXACT = 1e-10


def test_what_is_enumerated_is_verls_loss():
    pytest.importorskip("verl")
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.workers.config import ActorConfig

    weight, ratio = 3 * torch.randn(40, 9, dtype=torch.float64), (2 * torch.randn(40, 9, dtype=torch.float64)).exp()
    now = torch.zeros(40, 9, dtype=torch.float64, requires_grad=True)
    config = ActorConfig(strategy="fsdp", ppo_micro_batch_size_per_gpu=1, rollout_n=1)
    mask = torch.ones(40, 9)
    compute_policy_loss_vanilla(-ratio.log(), now, weight, mask, "token-mean", config)[0].backward()
    ours = staleness.vanilla(weight, ratio)
    assert torch.allclose(-360 * now.grad, ours, rtol=1e-12, atol=1e-12)
    # clipped on either side, and by the dual clip
    for clipped in ((weight > 0) & (ratio > 1.2), (weight < 0) & (ratio < 0.8), (weight < 0) & (ratio > 3)):
        assert clipped.any() and not ours[clipped].any()


def test_at_the_first_update_every_placement_is_the_gradient():
    first = at_update(0, 1, 0.1)
    assert first.drift == 0
    for found in (first.part, first.total):
        exact = {name: figures.bias < EXACT for name, figures in found.items()}
        assert exact == {name: name != "no future" for name in found}
        for name in (ROLLOUT, TRACED):
            assert found[name] == pytest.approx(found[CURRENT])


@pytest.mark.parametrize("seed", [0, 5])
def test_whole_products_are_exact_at_every_update_and_nothing_else_is(seed):
    found = at_update(seed, 4, 0.1).part
    assert found.pop(WHOLE).bias < EXACT
    assert min(figures.bias for figures in found.values()) > 0.005


def test_the_current_policys_term_has_a_fraction_of_the_bias_of_the_rollouts():
    for setting in staleness.SETTINGS.values():
        _, rows = table(*setting)
        (rollout, *_), (current, *_), (traced, _, variance, *_) = rows[ROLLOUT], rows[CURRENT], rows[TRACED]
        assert rollout > 3 * current
        assert traced < current and 0.8 < variance < 1


def test_a_servers_error_is_part_of_the_rollouts_term_under_bypass_mode():
    recomputed, bypassed = (served(1, 0.1, bypass) for bypass in (False, True))
    assert bypassed[ROLLOUT] > 2 * recomputed[ROLLOUT]
    assert bypassed[CURRENT] < recomputed[CURRENT] == pytest.approx(recomputed[ROLLOUT])


def test_the_curve_goes_from_no_future_to_exact():
    whole = truncated(0.6)["after t, and whole before t"]
    assert whole[-1][0] < EXACT < 0.2 < whole[0][0]
    assert whole[-1][2] > 1.3 > 0.5 > whole[0][2]


@pytest.mark.parametrize("name", list(chain_terms(chain(0, 0.1, 1))))
def test_the_chains_mean_is_the_sum_over_its_responses(name):
    of, length = chain(3, 0.5, 4), 4
    delta, weight = chain_terms(of)[name]
    expected = torch.zeros(staleness.STATES, 3, dtype=torch.float64)
    for tokens in itertools.product(range(3), repeat=length):
        states = [0]
        for token in tokens:
            states.append(staleness.NEXT[states[-1], token].item())
        at = torch.tensor(states[:-1]), torch.tensor(tokens)
        # the core's sum, with the term's own weights in place of min(1, ρ)
        log_weight, whole = weight.log().clamp(min=-1e3)[at][None], torch.ones(1, length)
        reg = traced_return_to_go(delta[at][None], log_weight, whole, REVERSE_KL, math.inf)[0]
        coefficient = -of.old[at].sum().exp() * (of.now - of.old)[at].exp() * reg
        expected.index_put_(at, coefficient, accumulate=True)
        expected.index_add_(0, at[0], -coefficient[:, None] * of.now.exp()[at[0]])
    assert torch.allclose(staleness.chain_mean(of, length, delta, weight), expected, rtol=0, atol=1e-12)


def test_the_chain_without_drift_is_exact():
    of = chain(0, 0.0, 4)
    for name, term in chain_terms(of).items():
        error = staleness.chain_mean(of, 30, *term) - staleness.chain_gradient(of, 30)
        assert (error.abs().max() < EXACT) == (name != "no future")


def test_what_vtrace_forgets_grows_with_the_response():
    _, short, _ = chain_row(4, 0.03, 16)
    _, long, _ = chain_row(4, 0.03, 256)
    assert short[TRACED] < short[CURRENT]
    assert long[TRACED] > long[ROLLOUT] > long[CURRENT]


def test_the_pages_rows_are_those_of_the_program():
    for line in staleness.lines() + staleness.served_lines() + staleness.truncated_lines():
        assert line in PAGE
    _, rows = table(*staleness.LONG_STEP)
    low, high = min(row[3] for row in rows.values()), max(row[3] for row in rows.values())
    assert f"between {low:.2f} and {high:.2f}" in PAGE


@pytest.mark.parametrize("length", [16, 64])
def test_the_pages_rows_of_the_chain_are_those_of_the_program(length):
    for apart, step in itertools.product(staleness.APART, staleness.CHAIN_STEPS):
        drift, biases, _ = chain_row(apart, step, length)
        cells = r" \| ".join(rf"{bias:.3f} / \d+\.\d\d" for bias in biases.values())
        assert re.search(rf"^\| {apart} \| {drift:.2f} \| {length} \| {cells} \|$", PAGE, re.M)


def test_the_figure_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    staleness.figure(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
