import itertools
import math

import pytest
import torch
from oracles import (
    END,
    VOCABULARY,
    TinyPolicy,
    expected_divergence,
    expected_group_gradient,
    expected_reward,
    frpo,
    group_normalised,
    group_utility_slope,
    log_ratios,
    loss_side_gradient,
    objective,
    population_normalised,
    population_statistics_gradient,
    return_to_go,
    reverse_kl_return_to_go,
    score_function_gradient,
    theorem_weights,
    tiny_policy,
    unfinished_prefixes,
    weighted_score,
)

NAN = math.nan
TOLERANCE = 1e-12


def minus_log(u):
    return -torch.log(u)


def minus_log_k3(u):
    return -torch.log(u) + u - 1


def u_log_u(u):
    return u * torch.log(u) - u + 1


def identity(delta):
    return delta


def k3(delta):
    return math.exp(-delta) + delta - 1


# f, its local part f - f'(u) u and its future part f, both as functions of delta (u = exp(-delta)):
#   -log u:         delta + 1, the 1 dropped (a test below says why that is allowed);  delta
#   -log u + u - 1: -log u + u - 1 - (-1/u + 1) u = -log u = delta;                    e^-delta + delta - 1
#   u log u - u + 1: u log u - u + 1 - u log u = 1 - u = 1 - e^-delta;                 1 - e^-delta (1 + delta)
GENERATORS = {
    "reverse k1": (minus_log, identity, identity),
    "reverse k3": (minus_log_k3, identity, k3),
    "forward k3": (u_log_u, lambda d: 1 - math.exp(-d), lambda d: 1 - math.exp(-d) * (1 + d)),
}


def zero_then_stop(response):
    return float(response[0] == 0 and response[-1] == END)


def no_reward(response):
    return 0.0


def gradient(value, policy):
    return torch.autograd.grad(value, policy.logits)[0]


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.fixture
def policy():
    return tiny_policy(seed=1)


@pytest.fixture
def reference():
    return tiny_policy(seed=2, requires_grad=False)


# ---- Advantages ----


def test_group_normalisation_by_hand():
    # Group a: 1, 2, 3, mean 2, sample deviation sqrt((1 + 0 + 1) / 2) = 1. Group b: one score, 5 / (1 + epsilon).
    assert group_normalised([1.0, 5.0, 2.0, 3.0], ["a", "b", "a", "a"], epsilon=1.0) == [-0.5, 2.5, 0.0, 0.5]


def test_population_normalisation_by_hand():
    # 1, 1, 0, 0: mean 1/2, deviation 1/2.
    assert population_normalised([1.0, 1.0, 0.0, 0.0]) == [1.0, 1.0, -1.0, -1.0]
    assert population_normalised([1.0, 1.0]) == [0.0, 0.0]


def test_return_to_go_by_hand():
    delta = [[1.0, NAN, 2.0, 4.0], [1.0, 2.0, NAN, NAN]]
    mask = [[True, False, True, True], [True, True, False, False]]
    # Row 1: 1 + 2 + 4, hole, 2 + 4, 4.
    assert reverse_kl_return_to_go(delta, mask) == [[7.0, 0.0, 6.0, 4.0], [3.0, 2.0, 0.0, 0.0]]
    # local = 100 delta and future = delta: 100 + 2 + 4, hole, 200 + 4, 400.
    general = return_to_go(delta, mask, lambda d: 100 * d, identity)
    assert general == [[106.0, 0.0, 204.0, 400.0], [102.0, 200.0, 0.0, 0.0]]
    assert return_to_go(delta, mask, identity, identity) == reverse_kl_return_to_go(delta, mask)


def test_frpo_by_hand():
    # Advantages -0.5, 0, 0.5 as above; returns to go (1 + 2, 2), (4, hole), (8 + 16, 16); beta = 0.25.
    advantages = frpo(
        scores=[1.0, 2.0, 3.0],
        groups=["a", "a", "a"],
        delta=[[1.0, 2.0], [4.0, NAN], [8.0, 16.0]],
        mask=[[True, True], [True, False], [True, True]],
        beta=0.25,
        epsilon=1.0,
    )
    assert advantages == [[-1.25, -1.0], [-1.0, 0.0], [-5.5, -3.5]]


# ---- The enumerable policy ----


# Ends early after 1, 2, ... tokens in 1, 2, 4, ... ways, or runs to the last token in 3 * 2^(n - 1) ways.
@pytest.mark.parametrize(("max_length", "responses"), [(1, 3), (2, 1 + 6), (3, 1 + 2 + 12), (4, 1 + 2 + 4 + 24)])
def test_the_responses_are_all_there(max_length, responses):
    enumerated = tiny_policy(0, max_length).responses()
    assert len({response for response, _ in enumerated}) == len(enumerated) == responses
    assert sum(p.item() for _, p in enumerated) == pytest.approx(1.0, abs=TOLERANCE)


def test_probabilities_by_hand():
    policy = one_token_policy([1 / 2, 1 / 4, 1 / 4])
    assert [p.item() for _, p in policy.responses()] == pytest.approx([0.5, 0.25, 0.25], abs=TOLERANCE)
    uniform = TinyPolicy(torch.zeros(7, 3, dtype=torch.float64), max_length=3)
    for response, p in uniform.responses():
        assert p.item() == pytest.approx(3.0 ** -len(response), abs=TOLERANCE)


def test_the_hand_derived_score_equals_autograd(policy):
    for response, _ in policy.responses():
        weights = [1.0, -2.0, 0.5][: len(response)]
        weighted = (torch.tensor(weights, dtype=torch.float64) * policy.log_probs(response)).sum()
        assert_equal(weighted_score(policy, response, weights), gradient(weighted, policy))


def one_token_policy(probabilities):
    return TinyPolicy(torch.tensor([probabilities], dtype=torch.float64).log().requires_grad_(), max_length=1)


def test_one_token_divergences_and_gradients_by_hand():
    policy, reference = one_token_policy([1 / 2, 1 / 4, 1 / 4]), one_token_policy([1 / 8, 1 / 8, 3 / 4])
    log2, log3 = math.log(2), math.log(3)
    # KL(policy || ref) = 1/2 log 4 + 1/4 log 2 + 1/4 log 1/3; KL(ref || policy) = 1/8 log 1/4 + 1/8 log 1/2 + 3/4 log 3
    reverse, forward = 1.25 * log2 - 0.25 * log3, 0.75 * log3 - 0.375 * log2
    for f, value in ((minus_log, reverse), (minus_log_k3, reverse), (u_log_u, forward)):
        assert expected_divergence(policy, reference, f).item() == pytest.approx(value, abs=TOLERANCE)
    # d KL(policy || ref) / d logit_v = policy_v (delta_v - KL), delta = (2 log 2, log 2, -log 3)
    by_hand = [[(2 * log2 - reverse) / 2, (log2 - reverse) / 4, (-log3 - reverse) / 4]]
    # d KL(ref || policy) / d logit_v = policy_v - ref_v
    forward_by_hand = torch.tensor([[3 / 8, 1 / 8, -1 / 2]], dtype=torch.float64)
    for name, expected in (("reverse k1", by_hand), ("reverse k3", by_hand), ("forward k3", forward_by_hand)):
        _, local, future = GENERATORS[name]
        estimated = score_function_gradient(policy, theorem_weights(policy, reference, no_reward, 1.0, local, future))
        assert_equal(-estimated, torch.as_tensor(expected, dtype=torch.float64))
    # The surrogate: k1 pulls nowhere, k3 pulls along the forward divergence.
    assert_equal(loss_side_gradient(policy, reference, no_reward, 1.0, minus_log), torch.zeros_like(forward_by_hand))
    assert_equal(-loss_side_gradient(policy, reference, no_reward, 1.0, minus_log_k3), forward_by_hand)


def test_the_forward_k3_of_reference_samples_is_not_the_forward_divergence_under_the_policy():
    policy, reference = one_token_policy([1 / 2, 1 / 4, 1 / 4]), one_token_policy([1 / 8, 1 / 8, 3 / 4])
    forward = 0.75 * math.log(3) - 0.375 * math.log(2)

    def sampled(u):  # e^delta - delta - 1
        return 1 / u + torch.log(u) - 1

    # sum policy^2 / ref = 2 + 1/2 + 1/12, so E = 2 + 7/12 - KL(policy || ref) - 1
    reverse = 1.25 * math.log(2) - 0.25 * math.log(3)
    assert expected_divergence(policy, reference, sampled).item() == pytest.approx(19 / 12 - reverse, abs=TOLERANCE)
    # Reweighted to the reference by u it is the forward divergence, as u log u - u + 1 is without any weight.
    reweighted = expected_divergence(policy, reference, lambda u: u * sampled(u)).item()
    assert reweighted == pytest.approx(forward, abs=TOLERANCE)


# ---- Theorem 4.1 and Proposition 4.3 ----


@pytest.mark.parametrize("max_length", [3, 4])
@pytest.mark.parametrize("name", GENERATORS)
def test_theorem_weights_give_the_gradient_of_the_objective(name, max_length):
    policy, reference = tiny_policy(1, max_length), tiny_policy(2, max_length, requires_grad=False)
    f, local, future = GENERATORS[name]
    weights = theorem_weights(policy, reference, zero_then_stop, 0.7, local, future)
    expected = gradient(objective(policy, reference, zero_then_stop, 0.7, f), policy)
    assert expected.norm() > 0.1
    assert_equal(score_function_gradient(policy, weights), expected)


def test_a_constant_in_the_local_part_changes_nothing(policy, reference):
    plain = theorem_weights(policy, reference, zero_then_stop, 0.7, identity, identity)
    shifted = theorem_weights(policy, reference, zero_then_stop, 0.7, lambda d: d + 1, identity)
    assert_equal(score_function_gradient(policy, shifted), score_function_gradient(policy, plain))


def test_both_reverse_generators_state_one_objective(policy, reference):
    # E[u_j - 1 | s_j] = sum over a of ref - policy = 0
    k1_value = objective(policy, reference, zero_then_stop, 0.7, minus_log)
    k3_value = objective(policy, reference, zero_then_stop, 0.7, minus_log_k3)
    assert_equal(k1_value, k3_value)
    assert_equal(gradient(k1_value, policy), gradient(k3_value, policy))


# Errors measured on this policy pair, relative to the norm of the regulariser's true gradient.
@pytest.mark.parametrize(("name", "error"), [("reverse k1", 1.0), ("reverse k3", 0.4097), ("forward k3", 0.6028)])
def test_the_loss_side_surrogate_misses_the_gradient(policy, reference, name, error):
    f = GENERATORS[name][0]
    surrogate = loss_side_gradient(policy, reference, no_reward, 1.0, f)
    true = gradient(objective(policy, reference, no_reward, 1.0, f), policy)
    assert relative_error(surrogate, true) == pytest.approx(error, abs=1e-4)


# What is differentiated is f(u_t) at its own token: -f'(u) u = 1, 1 - u and -u log u = delta e^-delta.
@pytest.mark.parametrize(
    ("f", "direct"),
    [
        (minus_log, lambda d: 1.0),
        (minus_log_k3, lambda d: 1 - math.exp(-d)),
        (u_log_u, lambda d: d * math.exp(-d)),
    ],
)
def test_the_loss_side_surrogate_keeps_the_direct_term_only(policy, reference, f, direct):
    def weights(response):
        return [zero_then_stop(response) - 0.7 * direct(d) for d in log_ratios(policy, reference, response)]

    surrogate = loss_side_gradient(policy, reference, zero_then_stop, 0.7, f)
    assert_equal(score_function_gradient(policy, weights), surrogate)


# k3 as its own local part (appendix E): the error is larger than the gradient itself, and for the forward divergence
# the estimate points away from it.
@pytest.mark.parametrize(
    ("name", "error", "cosine"), [("reverse k3", 1.0927, -0.0319), ("forward k3", 1.5785, -0.9357)]
)
def test_k3_in_the_whole_inclusive_sum_is_not_the_gradient(policy, reference, name, error, cosine):
    f, _, future = GENERATORS[name]
    weights = theorem_weights(policy, reference, no_reward, 1.0, future, future)
    inclusive = score_function_gradient(policy, weights)
    true = gradient(objective(policy, reference, no_reward, 1.0, f), policy)
    assert relative_error(inclusive, true) == pytest.approx(error, abs=1e-4)
    assert torch.cosine_similarity(inclusive.flatten(), true.flatten(), dim=0).item() == pytest.approx(cosine, abs=1e-4)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_inclusive_sum_is_the_gradient_less_the_loss_side_surrogate(policy, reference, name):
    # local = f instead of f - f'(u) u: what is missing is -f'(u) u, which is all that the surrogate has.
    f, _, future = GENERATORS[name]
    weights = theorem_weights(policy, reference, no_reward, 1.0, future, future)
    true = gradient(objective(policy, reference, no_reward, 1.0, f), policy)
    surrogate = loss_side_gradient(policy, reference, no_reward, 1.0, f)
    assert_equal(score_function_gradient(policy, weights), true - surrogate)


def test_the_utility_scales_the_reward_and_not_the_regulariser(policy, reference):
    p = expected_reward(policy, zero_then_stop).item()
    slope = 1 / math.sqrt(p * (1 - p))

    def arcsine(value):
        return 2 * torch.arcsin(torch.sqrt(value))

    def scaled(response):
        return slope * zero_then_stop(response)

    expected = gradient(objective(policy, reference, zero_then_stop, 0.7, minus_log, arcsine), policy)
    weights = theorem_weights(policy, reference, scaled, 0.7, identity, identity)
    assert_equal(score_function_gradient(policy, weights), expected)
    both = theorem_weights(policy, reference, scaled, 0.7 * slope, identity, identity)
    assert relative_error(score_function_gradient(policy, both), expected) > 0.5


def test_the_gradient_vanishes_at_the_closed_form_optimum(reference):
    # Eq. 5.2: policy(a) = ref(a) e^{r(a)/beta} / Z, token by token with V(s) = beta log sum_a ref(a|s) e^{V(sa)/beta}.
    beta, max_length = 0.7, reference.max_length
    values, rows = {}, {}
    for prefix in reversed(unfinished_prefixes(max_length)):
        responses = [(*prefix, token) for token in VOCABULARY]
        ref = [math.exp(reference.log_probs(response)[-1].item()) for response in responses]
        after = [values[response] if response in values else zero_then_stop(response) for response in responses]
        rows[prefix] = [math.log(q) + value / beta for q, value in zip(ref, after, strict=True)]
        values[prefix] = beta * math.log(sum(math.exp(logit) for logit in rows[prefix]))
    logits = torch.tensor([rows[prefix] for prefix in unfinished_prefixes(max_length)], dtype=torch.float64)
    optimum = TinyPolicy(logits.requires_grad_(), max_length)
    for response, _ in optimum.responses():
        regularised = zero_then_stop(response) - beta * sum(log_ratios(optimum, reference, response))
        assert regularised == pytest.approx(values[()], abs=TOLERANCE)
    weights = theorem_weights(optimum, reference, zero_then_stop, beta, identity, identity)
    assert_equal(score_function_gradient(optimum, weights), torch.zeros_like(logits))


# ---- Propositions 3.1 and 3.2 ----


def outcome_rows(normalise, reward=zero_then_stop):
    def advantages(group):
        scores = normalise([reward(response) for response in group])
        return [[score] * len(response) for score, response in zip(scores, group, strict=True)]

    return advantages


def test_with_population_statistics_grpo_climbs_the_arcsine(policy):
    arcsine = 2 * torch.arcsin(torch.sqrt(expected_reward(policy, zero_then_stop)))
    assert_equal(population_statistics_gradient(policy, zero_then_stop), gradient(arcsine, policy))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9])
def test_the_finite_group_slope_by_hand(p):
    # s_k is 1/2 (G = 2), sqrt(2)/3 (G = 3), sqrt(3)/4 and 1/2 (G = 4), 2/5 and sqrt(6)/5 (G = 5); p^3 + q^3 = 1 - 3pq.
    pq = p * (1 - p)
    by_hand = {
        2: 1.0,
        3: math.sqrt(2),
        4: math.sqrt(3) * (1 - 2 * pq) + 3 * pq,
        5: 2 * (1 - 3 * pq) + 2 * math.sqrt(6) * pq,
    }
    for group_size, slope in by_hand.items():
        assert group_utility_slope(p, group_size) == pytest.approx(slope, abs=TOLERANCE)


def test_the_finite_group_slope_tends_to_the_arcsine_from_below():
    for p in (0.1, 0.5):
        limit = 1 / math.sqrt(p * (1 - p))
        slopes = [group_utility_slope(p, group_size) for group_size in (2, 4, 8, 16, 64, 512)]
        assert slopes == sorted(slopes)
        assert 0.99 * limit < slopes[-1] < limit
    # Not uniformly: at the ends the arcsine's slope is infinite and the group's is sqrt(G - 1).
    assert group_utility_slope(1e-9, 5) == pytest.approx(2.0, abs=1e-8)


@pytest.mark.parametrize(("group_size", "max_length"), [(2, 3), (3, 2), (4, 1), (5, 1)])
def test_a_finite_group_climbs_its_own_utility(group_size, max_length):
    policy = tiny_policy(3, max_length)
    # With one token only, the reward has to accept a response of one token.
    reward = zero_then_stop if max_length > 1 else lambda response: float(response == (0,))
    advantages = outcome_rows(population_normalised, reward)
    p = expected_reward(policy, reward)
    expected = group_utility_slope(p.item(), group_size) * gradient(p, policy)
    assert_equal(expected_group_gradient(policy, group_size, advantages), expected)


@pytest.mark.parametrize(("group_size", "max_length"), [(2, 3), (3, 2)])
def test_expected_frpo_is_the_gradient_of_utility_minus_divergence(group_size, max_length):
    policy, reference = tiny_policy(1, max_length), tiny_policy(2, max_length, requires_grad=False)

    def advantages(group):
        delta = [log_ratios(policy, reference, response) for response in group]
        width = max(len(row) for row in delta)
        mask = [[t < len(row) for t in range(width)] for row in delta]
        padded = [row + [NAN] * (width - len(row)) for row in delta]
        scores = [zero_then_stop(response) for response in group]
        return frpo(scores, ["x"] * group_size, padded, mask, beta=0.7, epsilon=1e-14)

    p = expected_reward(policy, zero_then_stop)
    slope = math.sqrt((group_size - 1) / group_size) * group_utility_slope(p.item(), group_size)
    divergence = expected_divergence(policy, reference, minus_log)
    assert_equal(
        expected_group_gradient(policy, group_size, advantages), gradient(slope * p - 0.7 * divergence, policy)
    )


def test_verls_sample_deviation_shrinks_the_slope(policy):
    sample = outcome_rows(lambda scores: group_normalised(scores, ["x"] * len(scores), epsilon=1e-14))
    population = expected_group_gradient(policy, 2, outcome_rows(population_normalised))
    assert_equal(expected_group_gradient(policy, 2, sample), math.sqrt(1 / 2) * population)


def test_kl_in_the_reward_rescales_the_divergence_as_well(policy, reference):
    # Prop. 3.2 with D = sum of delta: E[A grad log pi] = grad(p - beta KL) / sqrt(p(1-p) - 2 beta Cov + beta^2 Var).
    beta = 0.7

    def shaped(response):
        return zero_then_stop(response) - beta * sum(log_ratios(policy, reference, response))

    p, kl = expected_reward(policy, zero_then_stop), expected_divergence(policy, reference, minus_log)
    covariance, variance = 0.0, 0.0
    for response, probability in policy.responses():
        deviation = sum(log_ratios(policy, reference, response)) - kl.item()
        covariance += probability.item() * zero_then_stop(response) * deviation
        variance += probability.item() * deviation**2
    normaliser = math.sqrt(p.item() * (1 - p.item()) - 2 * beta * covariance + beta**2 * variance)
    actual = population_statistics_gradient(policy, shaped)
    assert_equal(actual, gradient(p - beta * kl, policy) / normaliser)
    # The decoupled objective's gradient is no multiple of it.
    arcsine = 2 * torch.arcsin(torch.sqrt(expected_reward(policy, zero_then_stop)))
    decoupled = gradient(arcsine - beta * expected_divergence(policy, reference, minus_log), policy)
    assert torch.cosine_similarity(actual.flatten(), decoupled.flatten(), dim=0) < 0.99


def test_ordered_groups_are_all_enumerated():
    policy = tiny_policy(0, max_length=1)
    seen = []
    expected_group_gradient(policy, 2, lambda group: seen.append(group) or [[0.0], [0.0]])
    assert seen == list(itertools.product([(0,), (1,), (2,)], repeat=2))
