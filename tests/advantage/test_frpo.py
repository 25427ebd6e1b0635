"""FRPO's expected gradient is the gradient of the regularised objective: enumerated exactly, for every divergence.

A policy over three tokens and up to four steps is small enough to sum over every response, and over every group of
responses. The left side of each test is that sum with the weights of this package; the right side is autograd of
eq. 4.1 (arXiv 2601.10201), which owes nothing to the theorem.
"""

import itertools
import math

import pytest
import torch
from enumerated import LENGTH_BASELINE_ERROR, LOSS_SIDE_ERROR, VARIANT_ERROR
from oracles import (
    END,
    expected_divergence,
    expected_reward,
    frpo,
    group_utility_slope,
    log_ratios,
    loss_side_gradient,
    objective,
    score_function_gradient,
    tiny_policy,
    weighted_score,
)
from regulariser_oracles import GENERATORS, regulariser_variants
from textbook import f_of

from frpo_verl.advantage import (
    centre_by_group,
    centre_in_group,
    discounted,
    divide_by_length,
    ends_by_length,
    frpo_advantage,
    minus_length_baseline,
    normalise_by_group,
    normalise_by_group_population,
    regularise,
    return_to_go,
    value_at_step_end,
    value_at_step_start,
    within,
)
from frpo_verl.divergences import BY_NAME, REVERSE_KL, appendix_e

pytestmark = pytest.mark.filterwarnings("error")

# The gradient is linear in β, on both sides: one value proves all, with the test of linearity below.
BETA = 0.3
EXACT = 1e-10


def _reward(response: tuple[int, ...]) -> float:
    return float(response[0] == 0 and response[-1] == END)


def _policies(max_length: int = 3):
    return tiny_policy(1, max_length), tiny_policy(2, max_length, requires_grad=False)


def _batch(policy, reference, responses) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, δ with NaN as padding, and mask."""
    row_of = {response: log_ratios(policy, reference, response) for response in set(responses)}
    length = max(map(len, row_of.values()))
    padded = {response: row + [math.nan] * (length - len(row)) for response, row in row_of.items()}
    delta = torch.tensor([padded[response] for response in responses], dtype=torch.float64)
    scores = torch.tensor([_reward(response) for response in responses], dtype=torch.float64)
    return scores, delta, ~torch.isnan(delta)


def _expected_over_responses(policy, reference, weights_of) -> torch.Tensor:
    """E_a Σ_t w_t ∇log π(a_t|s_t), all responses in one batch; `weights_of` sees scores, δ and mask."""
    enumerated = policy.responses()
    responses = [response for response, _ in enumerated]
    weights = weights_of(*_batch(policy, reference, responses))
    table = {response: row.tolist() for response, row in zip(responses, weights, strict=True)}
    return score_function_gradient(policy, lambda response: table[response])


def _expected_over_groups(policy, reference, group_size, advantage_of) -> torch.Tensor:
    """E (1/G) Σ_i Σ_t Â_it ∇log π, over all ordered groups; `advantage_of` sees all groups as one batch."""
    enumerated = [(response, p.item()) for response, p in policy.responses()]
    members = list(itertools.product(enumerated, repeat=group_size))
    responses = [response for group in members for response, _ in group]
    group = torch.arange(len(members)).repeat_interleave(group_size)
    scores, delta, mask = _batch(policy, reference, responses)
    advantages = advantage_of(scores, group, delta, mask)
    probability = torch.tensor([math.prod(p for _, p in group) for group in members], dtype=torch.float64)
    weighted = advantages * probability.repeat_interleave(group_size)[:, None] / group_size
    # ∇log π is linear in the weights, so that those of equal responses can be added up first
    place = {response: row for row, (response, _) in enumerate(enumerated)}
    where = torch.tensor([place[response] for response in responses])
    total = torch.zeros(len(place), delta.shape[1], dtype=torch.float64).index_add_(0, where, weighted)
    return sum(weighted_score(policy, response, total[row].tolist()) for response, row in place.items())


def _relative_error(estimate: torch.Tensor, exact: torch.Tensor) -> float:
    return ((estimate - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("max_length", [2, 4])
def test_the_expected_gradient_is_that_of_the_objective(generator, max_length):
    policy, reference = _policies(max_length)
    (exact,) = torch.autograd.grad(objective(policy, reference, _reward, BETA, f_of(generator)), policy.logits)
    baseline = expected_reward(policy, _reward).item()

    def weights(scores, delta, mask):
        return regularise(scores - baseline, return_to_go(delta, mask, generator), mask, BETA)

    estimate = _expected_over_responses(policy, reference, weights)
    assert torch.allclose(estimate, exact, rtol=0, atol=EXACT)
    assert exact.norm() > 0.01


@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_groups_that_are_centred_aim_at_the_expected_reward(generator, group_size):
    policy, reference = _policies(max_length=2)
    utility = 1 - 1 / group_size
    value = objective(policy, reference, _reward, BETA, f_of(generator), lambda p: utility * p)
    (exact,) = torch.autograd.grad(value, policy.logits)

    def advantage(scores, group, delta, mask):
        return frpo_advantage(scores, group, delta, mask, BETA, generator, outcome=centre_by_group)

    assert torch.allclose(_expected_over_groups(policy, reference, group_size, advantage), exact, rtol=0, atol=EXACT)


@pytest.mark.parametrize("group_size", [2, 3, 4])
@pytest.mark.parametrize("form", [normalise_by_group, normalise_by_group_population])
def test_groups_that_are_normalised_aim_at_grpos_hidden_utility(generator, group_size, form):
    # Proposition 3.1 at finite group size: ℓ'(p) is `group_utility_slope`, times √((G−1)/G) for the sample form. The
    # divergence keeps its weight: ℓ' multiplies the reward only.
    policy, reference = _policies(max_length=2)
    p = expected_reward(policy, _reward)
    slope = group_utility_slope(p.item(), group_size)
    if form is normalise_by_group:
        slope *= math.sqrt((group_size - 1) / group_size)
    divergence = expected_divergence(policy, reference, f_of(generator))
    (exact,) = torch.autograd.grad(slope * p - BETA * divergence, policy.logits)

    def advantage(scores, group, delta, mask):
        def outcome(scores, group):
            return form(scores, group, 1e-300)

        return frpo_advantage(scores, group, delta, mask, BETA, generator, outcome=outcome)

    assert torch.allclose(_expected_over_groups(policy, reference, group_size, advantage), exact, rtol=0, atol=EXACT)


@pytest.mark.parametrize("beta", [0.01, 2.0, 100.0])
def test_the_advantage_is_linear_in_the_coefficient(generator, beta):
    scores, group = torch.randn(6, dtype=torch.float64), torch.arange(6) // 3
    delta, mask = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5) > 0.3
    none, one, some = (frpo_advantage(scores, group, delta, mask, value, generator) for value in (0.0, 1.0, beta))
    assert torch.allclose(some, none + beta * (one - none), rtol=1e-12, atol=1e-12 * beta)


def test_the_arcsine_utility_is_the_limit_of_large_groups():
    # Proposition 3.1 as printed: 2·arcsin(√p), slope 1/√(p(1 − p)); how far G = 5, 64 and 512 are from it
    policy, _ = _policies(max_length=2)
    p = expected_reward(policy, _reward).item()
    limit = 1 / math.sqrt(p * (1 - p))
    shortfall = [1 - group_utility_slope(p, group_size) / limit for group_size in (5, 64, 512)]
    assert shortfall == sorted(shortfall, reverse=True)
    assert shortfall[0] > 0.1
    assert 0 < shortfall[2] < 0.01


def test_a_divergence_that_goes_through_the_normalisation_aims_elsewhere():
    # Proposition 3.2: r̃ = r − β Σ_j δ_j, then normalised in the group
    policy, reference = _policies(max_length=2)
    group_size = 3
    p = expected_reward(policy, _reward)
    slope = group_utility_slope(p.item(), group_size) * math.sqrt((group_size - 1) / group_size)
    divergence = expected_divergence(policy, reference, f_of(REVERSE_KL))
    (exact,) = torch.autograd.grad(slope * p - BETA * divergence, policy.logits)

    def in_reward(scores, group, delta, mask):
        penalised = scores - BETA * torch.where(mask, delta, 0.0).sum(-1)
        return normalise_by_group(penalised, group, 1e-300)[:, None] * mask

    def decoupled(scores, group, delta, mask):
        def outcome(scores, group):
            return normalise_by_group(scores, group, 1e-300)

        return frpo_advantage(scores, group, delta, mask, BETA, outcome=outcome)

    assert _relative_error(_expected_over_groups(policy, reference, group_size, decoupled), exact) < EXACT
    # 0.75 on this policy: nothing of the decoupled gradient's size or direction can be relied on
    assert _relative_error(_expected_over_groups(policy, reference, group_size, in_reward), exact) > 0.5


def test_the_loss_side_penalty_misses_part_of_the_gradient(generator):
    # Proposition 4.3: a penalty in the loss differentiates each token's f where it stands, and drops the future
    policy, reference = _policies()
    f = f_of(generator)
    (exact,) = torch.autograd.grad(expected_divergence(policy, reference, f), policy.logits)
    surrogate = loss_side_gradient(policy, reference, lambda response: 0.0, -1.0, f)
    ours = _expected_over_responses(policy, reference, lambda _, delta, mask: return_to_go(delta, mask, generator))
    assert exact.norm() > 0.01
    assert _relative_error(ours, exact) < EXACT
    if generator.name in LOSS_SIDE_ERROR:
        assert _relative_error(surrogate, exact) == pytest.approx(LOSS_SIDE_ERROR[generator.name], abs=5e-5)
    else:
        assert _relative_error(surrogate, exact) > 0.1


def _variant(name: str, delta, mask, generator):
    if name.startswith("appendix E"):
        return return_to_go(delta, mask, appendix_e(generator))
    if name.startswith("discount"):
        return return_to_go(delta, mask, generator, discounted(0.9))
    if name.startswith("horizon"):
        return return_to_go(delta, mask, generator, within(int(name.split()[1])))
    whole = return_to_go(delta, mask, generator)
    if name.startswith("divided"):
        return divide_by_length(whole, mask)
    hold = value_at_step_end if name.startswith("PRL") else value_at_step_start
    return hold(whole, mask, ends_by_length(mask, 2))


@pytest.mark.parametrize("name", VARIANT_ERROR)
@pytest.mark.parametrize(("divergence", "column"), [("k1", 0), ("k3", 1)])
def test_which_variants_are_the_gradient_and_how_far_the_others_are_from_it(name, divergence, column):
    policy, reference = _policies()
    generator = BY_NAME[divergence]
    f, local, future = GENERATORS[{"k1": "reverse KL", "k3": "k3"}[divergence]]
    (exact,) = torch.autograd.grad(expected_divergence(policy, reference, f), policy.logits)
    ours = _expected_over_responses(policy, reference, lambda _, delta, mask: _variant(name, delta, mask, generator))
    oracle = regulariser_variants(local, future)[name]

    def by_loops(response):
        delta = log_ratios(policy, reference, response)
        return oracle([delta], [[True] * len(delta)])[0]

    assert torch.allclose(ours, score_function_gradient(policy, by_loops), rtol=0, atol=1e-12)
    expected = VARIANT_ERROR[name][column]
    assert _relative_error(ours, exact) == pytest.approx(expected, abs=5e-5 if expected else EXACT)


@pytest.mark.parametrize("divergence", ["k1", "k3"])
def test_centring_within_the_group_leaves_the_gradient_exact_and_the_length_baseline_does_not(divergence):
    policy, reference = _policies()
    generator = BY_NAME[divergence]
    (exact,) = torch.autograd.grad(expected_divergence(policy, reference, f_of(generator)), policy.logits)

    def centred(scores, group, delta, mask):
        return centre_in_group(return_to_go(delta, mask, generator), mask, group)

    def lengthwise(scores, group, delta, mask):
        # the batch that the mean is over is the group of two
        rows = [slice(first, first + 2) for first in range(0, len(delta), 2)]
        return torch.cat(
            [
                minus_length_baseline(return_to_go(delta[r], mask[r], generator), delta[r], mask[r], generator)
                for r in rows
            ]
        )

    assert _relative_error(_expected_over_groups(policy, reference, 2, centred), exact) < EXACT
    error = LENGTH_BASELINE_ERROR[["k1", "k3"].index(divergence)]
    assert _relative_error(_expected_over_groups(policy, reference, 2, lengthwise), exact) == pytest.approx(
        error, abs=5e-5
    )


def test_equals_the_composition_written_as_a_loop():
    scores, group = torch.randn(6, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 1])
    delta, mask = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5) > 0.3
    expected = frpo(scores.tolist(), group.tolist(), delta.tolist(), mask.tolist(), 0.3, 1e-6)
    result = frpo_advantage(scores, group, delta, mask, beta=0.3)
    assert torch.allclose(result, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_it_is_the_composition_of_the_parts(generator):
    scores, group = torch.randn(9), torch.arange(9) // 3
    delta, mask = torch.randn(9, 40), torch.rand(9, 40) > 0.3
    whole = frpo_advantage(scores, group, delta, mask, 0.2, generator)
    parts = regularise(normalise_by_group(scores, group), return_to_go(delta, mask, generator), mask, 0.2)
    # float32: one rounding of the sum, and one of β times it
    assert torch.allclose(whole, parts, rtol=1e-6, atol=1e-6 * parts.abs().max().item())


def test_without_a_coefficient_the_outcome_stands_alone():
    scores, group = torch.randn(6), torch.arange(6) // 3
    delta, mask = torch.randn(6, 5), torch.rand(6, 5) > 0.3
    expected = torch.where(mask, normalise_by_group(scores, group)[:, None], 0.0)
    assert torch.equal(frpo_advantage(scores, group, delta, mask, 0), expected)


def test_masked_slots_get_zero_whatever_they_held(generator):
    delta, mask = torch.randn(2, 3), torch.tensor([[True, False, True], [False, False, False]])
    delta[~mask] = math.nan
    result = frpo_advantage(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), delta, mask, 0.5, generator)
    assert not result[~mask].any()
    assert torch.isfinite(result).all()


def test_identical_rewards_leave_the_divergence_alone(generator):
    delta, mask = torch.randn(4, 5, dtype=torch.float64), torch.rand(4, 5) > 0.3
    result = frpo_advantage(torch.ones(4).double(), torch.zeros(4).long(), delta, mask, 0.5, generator)
    assert torch.allclose(result, -0.5 * return_to_go(delta, mask, generator), rtol=0, atol=1e-12)


def test_ranks_that_hold_whole_groups_see_what_one_rank_sees(generator):
    scores, group = torch.randn(12, dtype=torch.float64), torch.arange(12) // 3
    delta, mask = torch.randn(12, 7, dtype=torch.float64), torch.rand(12, 7) > 0.3
    whole = frpo_advantage(scores, group, delta, mask, 0.5, generator)
    for ranks in (2, 4):
        rows = torch.arange(12).chunk(ranks)
        parts = [frpo_advantage(scores[r], group[r], delta[r], mask[r], 0.5, generator) for r in rows]
        assert torch.allclose(torch.cat(parts), whole, rtol=0, atol=1e-12)


def test_the_order_of_the_batch_does_not_matter(generator):
    scores, group = torch.randn(12, dtype=torch.float64), torch.arange(12) % 4
    delta, mask = torch.randn(12, 7, dtype=torch.float64), torch.rand(12, 7) > 0.3
    order = torch.randperm(12)
    shuffled = frpo_advantage(scores[order], group[order], delta[order], mask[order], 0.5, generator)
    whole = frpo_advantage(scores, group, delta, mask, 0.5, generator)
    assert torch.allclose(shuffled, whole[order], rtol=0, atol=1e-12)
