"""The oracles against hand-derived numbers, each other, autograd and enumeration."""

import decimal
import math
import random
from decimal import Decimal

import pytest
import torch
from divergence_oracles import (
    TEXTBOOK,
    adjoint,
    alpha,
    differentiated_local,
    reference_future,
    reference_local,
    textbook_f_divergence,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import frpo, return_to_go, reverse_kl_return_to_go, tiny_policy
from peer_rules import areal, openrlhf, roll
from preference_oracles import (
    dpo_loss,
    future_log_policy,
    log_softmax,
    outcome_loss,
    renyi_divergence,
    rpo_loss,
    simper_loss,
)
from regulariser_oracles import (
    GENERATORS,
    bias_table,
    centred,
    discounted_return_to_go,
    divide_by_length,
    expected_gradient_bias,
    fixed_length_ends,
    horizon_return_to_go,
    leave_one_out_group_mean,
    length_baseline,
    population_normalised_groups,
    prl_fill,
    regulariser_variants,
    value_at_step_end,
    value_at_step_start,
    variant_weights,
)
from tree_oracles import (
    distinct_tokens,
    expected_divided_update,
    log_ratio_of_token,
    prefix_tree,
    released_rule,
    set_sizes,
)

ALPHAS = [-1.0, -0.3, 0.25, 0.5, 1.5, 2.0, 3.0]
KEYS = [*TEXTBOOK, *(("alpha", a) for a in ALPHAS)]
NAN = math.nan


@pytest.fixture(autouse=True)
def ninety_digits():
    """So that the tests' own arithmetic does not round the 60-digit references to decimal's default of 28."""
    with decimal.localcontext() as context:
        context.prec = 90
        yield


def entry(key):
    return alpha(key[1]) if isinstance(key, tuple) else TEXTBOOK[key]


def distribution(generator, size):
    weights = [generator.uniform(0.05, 1.0) for _ in range(size)]
    return [weight / sum(weights) for weight in weights]


def scalar(x):
    return torch.tensor(x, dtype=torch.float64, requires_grad=True)


def close(a, b, tolerance=1e-12):
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))


# ---- Divergences ----


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_generator_sum_is_the_definition(key, seed):
    generator = random.Random(seed)
    p, q = distribution(generator, 5), distribution(generator, 5)
    f, exact = entry(key).f, entry(key).exact(p, q)
    by_sum = sum(p_x * float(f(torch.tensor(q_x / p_x, dtype=torch.float64))) for p_x, q_x in zip(p, q, strict=True))
    assert close(by_sum, exact)
    # The dictionary, both ways round.
    assert close(textbook_f_divergence(f, q, p), exact)
    assert close(textbook_f_divergence(adjoint(f), p, q), exact)
    assert exact > 0


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_divergence_of_equal_distributions_is_zero(key):
    p = [0.2, 0.3, 0.5]
    assert abs(entry(key).exact(p, p)) < 1e-15
    assert abs(entry(key).f(scalar(1.0)).item()) < 1e-15


def test_divergences_by_hand():
    """pi = (1/2, 1/2), ref = (1/4, 3/4), so u = 1/2 and 3/2."""
    p, q = [0.5, 0.5], [0.25, 0.75]
    hand = {
        "reverse_kl": 0.5 * math.log(4 / 3),
        "reverse_kl_k3": 0.5 * math.log(4 / 3),
        "k2": (math.log(2) ** 2 + math.log(1.5) ** 2) / 4,
        "forward_kl": 0.75 * math.log(3) - math.log(2),
        "forward_kl_k3": 0.75 * math.log(3) - math.log(2),
        "jeffreys": math.log(3) / 4,
        "jensen_shannon": 0.5 * (0.5 * math.log(16 / 15) + 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5)),
        "squared_hellinger": 2 - math.sqrt(0.5) * (1 + math.sqrt(3)),
        "pearson_chi2": 0.25,
        "neyman_chi2": 1 / 3,
        "total_variation": 0.25,
    }
    assert set(hand) == set(TEXTBOOK)
    for key, value in hand.items():
        assert close(TEXTBOOK[key].exact(p, q), value), key


@pytest.mark.parametrize(
    ("a", "key", "factor"),
    [
        (2, "pearson_chi2", 0.5),
        (-1, "neyman_chi2", 0.5),
        (0.5, "squared_hellinger", 2.0),
        (1e-6, "reverse_kl", 1.0),
        (1 - 1e-6, "forward_kl", 1.0),
    ],
)
def test_alpha_family_contains_the_others(a, key, factor):
    p, q = [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]
    assert alpha(a).exact(p, q) == pytest.approx(factor * TEXTBOOK[key].exact(p, q), rel=1e-5)


def test_asymmetric_pairs_swap_and_symmetric_ones_stay():
    p, q = [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]
    for a, b in [("reverse_kl", "forward_kl"), ("pearson_chi2", "neyman_chi2")]:
        assert close(TEXTBOOK[a].exact(p, q), TEXTBOOK[b].exact(q, p))
        assert not close(TEXTBOOK[a].exact(p, q), TEXTBOOK[b].exact(p, q), 1e-3)
    for key in ["jeffreys", "jensen_shannon", "squared_hellinger", "total_variation"]:
        assert close(TEXTBOOK[key].exact(p, q), TEXTBOOK[key].exact(q, p))


DELTAS = [-3.0, -0.7, -1e-3, 1e-3, 0.2, 1.0, 4.0]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("delta", DELTAS)
def test_references_against_autograd(key, delta):
    u = scalar(math.exp(-delta))
    value = entry(key).f(u)
    (slope,) = torch.autograd.grad(value, u)
    one = scalar(1.0)
    at_one = entry(key).f(one)
    (slope_at_one,) = torch.autograd.grad(at_one, one)
    raw = (value - slope * u).item() - (at_one - slope_at_one).item()
    assert float(reference_future(key, delta)) == pytest.approx(value.item(), rel=1e-9, abs=1e-12)
    assert float(reference_local(key, delta)) == pytest.approx(raw, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("delta", [*DELTAS, 30.0, -30.0, 1e-8])
def test_local_against_a_difference_quotient(key, delta):
    by_hand, by_difference = reference_local(key, delta), differentiated_local(key, delta)
    scale = max(Decimal(1), abs(by_hand), abs(reference_future(key, delta)))
    assert abs(by_hand - by_difference) < Decimal("1e-50") * scale


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_references_vanish_at_zero_and_hold_far_out(key):
    assert reference_local(key, 0.0) == 0 and reference_future(key, 0.0) == 0
    for delta in [1e-300, 5e-324, -1e-200, 700.0, -700.0, 1e4]:
        reference_local(key, delta), reference_future(key, delta)
    # Second order at zero: f(e^-d) -> f''(1) d^2 / 2, except where f'(1) is not 0 or f is not smooth.
    second = {
        "reverse_kl_k3": 1,
        "k2": 1,
        "forward_kl_k3": 1,
        "jeffreys": 2,
        "jensen_shannon": 0.25,
        "squared_hellinger": 0.5,
        "pearson_chi2": 2,
        "neyman_chi2": 2,
    }
    curvature = 1 if isinstance(key, tuple) else second.get(key)
    if curvature is not None:
        ratio = reference_future(key, 1e-100) / (Decimal(1e-100) ** 2 / 2)
        assert abs(ratio - Decimal(curvature)) < Decimal("1e-55") + 100 * Decimal(1e-100)


def test_references_by_hand():
    assert reference_local("reverse_kl", 0.75) == Decimal("0.75") == reference_local("reverse_kl_k3", 0.75)
    assert reference_local("k2", 2.0) == 4 and reference_future("k2", 2.0) == 2
    assert reference_local("total_variation", -0.1) == Decimal("-0.5")
    e = Decimal("2.71828182845904523536028747135266249775724709369995957496697")
    assert abs(reference_future("reverse_kl_k3", -1.0) - (e - 2)) < Decimal("1e-58")
    assert abs(reference_future("forward_kl", -1.0) - e) < Decimal("1e-58")
    assert abs(reference_local("neyman_chi2", 1.0) - 2 * (e - 1)) < Decimal("1e-57")
    assert abs(reference_local("forward_kl_k3", -1.0) - (1 - e)) < Decimal("1e-58")


# ---- Regularisers ----


def identity(x):
    return x


def test_discount_and_horizon_by_hand():
    # Slots 0, 1 and 3 are valid: local = 10 d, future = d.
    delta, mask = [[1.0, 2.0, NAN, 4.0, NAN]], [[True, True, False, True, False]]

    def local(d):
        return 10 * d

    assert discounted_return_to_go(delta, mask, local, identity, 0.5) == [[10 + 1 + 1, 20 + 2, 0.0, 40, 0.0]]
    assert discounted_return_to_go(delta, mask, local, identity, 0.0) == [[10, 20, 0.0, 40, 0.0]]
    assert horizon_return_to_go(delta, mask, local, identity, 0) == [[10, 20, 0.0, 40, 0.0]]
    assert horizon_return_to_go(delta, mask, local, identity, 1) == [[12, 24, 0.0, 40, 0.0]]
    theorem = return_to_go(delta, mask, local, identity)
    assert theorem == [[16, 24, 0.0, 40, 0.0]]
    assert discounted_return_to_go(delta, mask, local, identity, 1.0) == theorem
    assert horizon_return_to_go(delta, mask, local, identity, 99) == theorem


def test_baselines_by_hand():
    mask = [[True, True, False, True], [True, False, False, False]]
    values = [[1.0, 2.0, NAN, 3.0], [6.0, NAN, NAN, NAN]]
    # Mean over four valid tokens is 3; two, one, none after.
    assert length_baseline(values, mask) == [[6.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert leave_one_out_group_mean(values, mask, ["a", "a"]) == [6.0, 2.0]
    assert leave_one_out_group_mean(values, mask, ["a", "b"]) == [0.0, 0.0]
    # Pooled tokens, not the mean of means: (1 + 2 + 3 + 6) / 4.
    third, group = [[5.0]], [[True]]
    assert leave_one_out_group_mean(values + third, mask + group, ["a"] * 3)[2] == 3.0
    assert leave_one_out_group_mean(values, [[False] * 4, mask[1]], ["a", "a"]) == [6.0, 0.0]
    assert divide_by_length(values, mask) == [[1 / 3, 2 / 3, 0.0, 1.0], [6.0, 0.0, 0.0, 0.0]]
    assert length_baseline([[NAN]], [[False]]) == [[0.0]]


def test_steps_by_hand():
    values = [[1.0, 2.0, 3.0, 4.0, 5.0]]
    full, ends = [[True] * 5], fixed_length_ends([[True] * 5], 2)
    assert ends == [[False, True, False, True, False]]
    assert value_at_step_end(values, full, ends) == [[2.0, 2.0, 4.0, 4.0, 5.0]]
    assert value_at_step_start(values, full, ends) == [[1.0, 1.0, 3.0, 3.0, 5.0]]
    # A mark on a masked slot cuts nothing: slots 0, 2 and 3 are one step; padding behind.
    holes = [[True, False, True, True, False]]
    assert value_at_step_end(values, holes, ends) == [[4.0, 0.0, 4.0, 4.0, 0.0]]
    assert value_at_step_start(values, holes, ends) == [[1.0, 0.0, 1.0, 1.0, 0.0]]
    assert value_at_step_end([[NAN]], [[False]], [[True]]) == [[0.0]]


def test_prl_code_deviates_as_stated():
    full, ends = [[True] * 4], fixed_length_ends([[True] * 4], 2)
    # Where no value is zero and the mask is a prefix, code and rule agree.
    assert prl_fill([[1.0, 2.0, 3.0, 4.0]], full, ends) == value_at_step_end([[1.0, 2.0, 3.0, 4.0]], full, ends)
    # A zero at a step's end is skipped.
    assert value_at_step_end([[1.0, 0.0, 3.0, 4.0]], full, ends) == [[0.0, 0.0, 4.0, 4.0]]
    assert prl_fill([[1.0, 0.0, 3.0, 4.0]], full, ends) == [[4.0, 4.0, 4.0, 4.0]]
    # A hole: three valid tokens force an end at slot 2 (masked, dropped), and slot 3 is marked by position.
    holes = [[True, True, False, True, True]]
    five = [[1.0, 2.0, 3.0, 4.0, 5.0]]
    marks = fixed_length_ends(holes, 2)
    assert value_at_step_end(five, holes, marks) == [[2.0, 2.0, 0.0, 4.0, 5.0]]
    assert prl_fill(five, holes, marks) == [[2.0, 2.0, 4.0, 4.0, 0.0]]


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.floats(0, 1),
    st.integers(0, 8),
)
@settings(max_examples=60)
def test_a_mask_is_a_slice(tokens, discount, horizon):
    row, valid, marks = ([token[k] for token in tokens] for k in range(3))
    kept = [t for t in range(len(row)) if valid[t]]
    dirty = [row[t] if valid[t] else NAN for t in range(len(row))]
    short, all_valid, short_marks = [row[t] for t in kept], [True] * len(kept), [marks[t] for t in kept]

    def k3(d):
        return math.exp(-d) + d - 1

    for function in [
        lambda v, m, e: discounted_return_to_go([v], [m], identity, k3, discount)[0],
        lambda v, m, e: horizon_return_to_go([v], [m], identity, k3, horizon)[0],
        lambda v, m, e: length_baseline([v], [m])[0],
        lambda v, m, e: divide_by_length([v], [m])[0],
        lambda v, m, e: value_at_step_end([v], [m], [e])[0],
        lambda v, m, e: value_at_step_start([v], [m], [e])[0],
    ]:
        masked, sliced = function(dirty, valid, marks), function(short, all_valid, short_marks)
        assert [masked[t] for t in kept] == sliced
        assert all(masked[t] == 0.0 for t in range(len(row)) if not valid[t])


def test_outcome_advantages_by_hand():
    groups = ["a", "b", "a", "c", "c"]
    scores = [1.0, 7.0, 3.0, 0.1, 0.1]
    assert centred(scores, groups) == [-1.0, 7.0, 1.0, 0.0, 0.0]
    assert centred(scores, groups, pass_singletons=False) == [-1.0, 0.0, 1.0, 0.0, 0.0]
    assert population_normalised_groups(scores, groups, 1.0) == [-0.5, 3.5, 0.5, 0.0, 0.0]
    assert population_normalised_groups(scores, groups, 0.0) == [-1.0, 7.0, 1.0, 0.0, 0.0]
    assert population_normalised_groups([0.1] * 3, ["a"] * 3, 0.0) == [0.0] * 3


# ---- Bias ----

EXACT = {
    ("theorem 4.1", "reverse KL"),
    ("theorem 4.1", "k3"),
    ("appendix E, inclusive sum of f", "reverse KL"),
    ("value at step start, steps of 2", "reverse KL"),
    ("leave-one-out group mean, G = 2", "reverse KL"),
    ("leave-one-out group mean, G = 2", "k3"),
}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_which_variants_are_exact(seed):
    for label, row in bias_table(seed).items():
        for name, bias in row.items():
            assert bias < 1e-10 if (label, name) in EXACT else bias > 1e-3, (label, name, bias)


def test_bias_of_a_wrong_sign_is_seen():
    policy, reference = tiny_policy(3, 2), tiny_policy(4, 2, requires_grad=False)
    f, local, future = GENERATORS["reverse KL"]
    variant = regulariser_variants(local, future)["theorem 4.1"]
    weights = variant_weights(policy, reference, sum, -0.5, variant)
    assert expected_gradient_bias(policy, reference, sum, 0.5, f, weights) > 1e-2


# ---- Peers ----


def test_peers_by_hand():
    """Scores 0 and 2: mean 1, sample deviation sqrt 2, A = -+1/sqrt 2 up to epsilon. beta = 1/2."""
    scores, mask = [0.0, 2.0], [[True, False, True, False], [True, True, False, False]]
    log_prob = [[-1.0, 0.0, -3.0, 0.0], [-14.0, -1.0, 0.0, 0.0]]
    ref_log_prob = [[-2.0, 0.0, -1.0, 0.0], [-2.0, -3.0, 0.0, 0.0]]
    # k1 = (1, -2) and (-12, 2); two peers clamp the -12 at -10.
    root = math.sqrt(2)
    for rule, epsilon, clamped, hole in [(openrlhf, 1e-9, 10, True), (areal, 1e-5, 10, True), (roll, 1e-6, 12, False)]:
        a = 1 / (root + epsilon)
        expected = [[-a + 0.5, -a + 1 if hole else 0.0, -a + 1, 0.0], [a - 0.5 * (2 - clamped), a - 1, 0.0, 0.0]]
        rows = rule(scores, 2, log_prob, ref_log_prob, mask, 0.5)
        for row, wanted in zip(rows, expected, strict=True):
            assert row == pytest.approx(wanted, abs=1e-12), rule.__name__


@pytest.mark.parametrize(("rule", "epsilon"), [(openrlhf, 1e-9), (areal, 1e-5), (roll, 1e-6)])
def test_peers_are_eq_5_1_in_valid_slots(rule, epsilon):
    generator = random.Random(5)
    scores = [generator.choice([0.0, 0.5, 1.0]) for _ in range(8)]
    mask = [[True] + [generator.random() < 0.7 for _ in range(5)] for _ in scores]
    log_prob, ref_log_prob = ([[generator.uniform(-3, 0) for _ in row] for row in mask] for _ in range(2))
    delta = [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(log_prob, ref_log_prob, strict=True)]
    groups = [i // 4 for i in range(8)]
    wanted = frpo(scores, groups, delta, mask, 0.3, epsilon)
    rows = rule(scores, 4, log_prob, ref_log_prob, mask, 0.3)
    for i in range(8):
        for t in range(6):
            if mask[i][t]:
                assert close(rows[i][t], wanted[i][t])


def test_lone_responses_differ_between_peers():
    arguments = ([3.0], 1, [[-1.0]], [[-2.0]], [[True]], 0.5)
    assert math.isnan(openrlhf(*arguments)[0][0]) and math.isnan(roll(*arguments)[0][0])
    assert areal(*arguments) == [[-0.5]]


def test_the_outcome_reward_is_lost_behind_an_attended_masked_token():
    scores, mask, attended = [0.0, 2.0], [[True, False], [True, False]], [[True, True], [True, False]]
    zeros = [[0.0, 0.0], [0.0, 0.0]]
    for rule in (areal, roll):
        assert rule(scores, 2, zeros, zeros, mask, 0.5, attended=attended)[0] == [0.0, 0.0]
        assert rule(scores, 2, zeros, zeros, mask, 0.5, attended=attended)[1][0] > 0.7
        assert rule(scores, 2, zeros, zeros, mask, 0.5)[0][0] < -0.7
    assert openrlhf(scores, 2, zeros, zeros, mask, 0.5)[0][0] < -0.7


def test_without_regularisation_every_peer_is_constant_per_response():
    mask = [[True, True, True], [True, True, False]]
    zeros = [[0.0] * 3, [0.0] * 3]
    for rule in (openrlhf, areal, roll):
        for row, valid in zip(rule([1.0, 4.0], 2, zeros, zeros, mask, 0.0), mask, strict=True):
            assert len({row[t] for t in range(3) if valid[t]}) == 1
    assert reverse_kl_return_to_go(zeros, mask) == zeros


# ---- Prefix trees ----


def test_trees_by_hand():
    a, b, c = "abc"
    # a is met three times, ab twice and once by a response that ends there; b is another branch.
    group = [(a, b), (a, b, c), (a, c), (b, b)]
    assert set_sizes(group, [0] * 4) == released_rule(group) == [[3, 2], [3, 2, 1], [3, 1], [1, 1]]
    assert distinct_tokens(prefix_tree(group)) == len({"a", "ab", "abc", "ac", "b", "bb"})
    assert set_sizes([(a,), (a,), (a,)], [0, 1, 0]) == [[2], [1], [2]]
    assert released_rule([(a, b), (a, b), ()]) == [[2, 2], [2, 2], []]


@given(st.lists(st.lists(st.integers(0, 1), max_size=5).map(tuple), max_size=7))
def test_the_released_rule_is_the_tree(group):
    assert released_rule(group) == set_sizes(group, [0] * len(group))


def test_divided_updates_by_hand():
    """One token: both of a group of two have v with p², one of them with 2p(1 − p); either way v counts once."""
    policy, reference = tiny_policy(1, 1), tiny_policy(2, 1, requires_grad=False)
    p, q = (torch.softmax(one.logits[0], -1).tolist() for one in (policy, reference))
    expected = [
        sum((2 * p[v] - p[v] ** 2) * math.log(p[v] / q[v]) * ((v == a) - p[a]) for v in range(3)) for a in range(3)
    ]
    assert expected_divided_update(policy, log_ratio_of_token(policy, reference), 2)[0].tolist() == pytest.approx(
        expected, abs=1e-12
    )


# ---- Preferences ----


def test_future_policies_by_hand():
    # π = (3, 1)/4, π_ref = (1, 1)/2; π²/π_ref = (9, 1)/8
    policy, reference = [math.log(3), 0.0], [5.0, 5.0]
    assert [math.exp(value) for value in log_softmax(policy)] == pytest.approx([0.75, 0.25])
    assert [math.exp(value) for value in future_log_policy(policy, reference, 1)] == pytest.approx([0.9, 0.1])
    assert renyi_divergence(policy, reference, 2) == pytest.approx(math.log(10 / 8))
    assert renyi_divergence(policy, reference, 1) == pytest.approx(0.75 * math.log(1.5) - 0.25 * math.log(2))


def test_published_losses_by_hand():
    # π(y_w) = 1/16 in four tokens, π(y_l) = 1/9 in two; the reference half and an eighteenth of that
    chosen, rejected = torch.full((4,), 0.5).log(), torch.full((2,), 1 / 3).log()
    given = chosen, rejected, torch.tensor([1 / 32]).log(), torch.tensor([1 / 162]).log()
    # ratios 2 and 18: σ(log 2 − log 18) = 1/10, and with β = ½ σ(log ⅓) = 1/4
    assert dpo_loss(*given, 1.0).item() == pytest.approx(math.log(10), rel=1e-6)
    assert dpo_loss(*given, 0.5).item() == pytest.approx(math.log(4), rel=1e-6)
    assert rpo_loss(*given, 1.0, 3.0).item() == pytest.approx(math.log(10) + 3 * math.log(2), rel=1e-6)
    assert simper_loss(chosen, rejected).item() == pytest.approx(-1 / 2 + 1 / 3, rel=1e-6)
    assert outcome_loss(chosen, -3.0).item() == pytest.approx(3 / 2, rel=1e-6)
