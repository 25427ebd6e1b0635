"""λ-GRPO's weights: the paper's figure and theorem, and where the divergence's part belongs, by enumeration."""

import itertools

import pytest
import torch
from enumerated import DIVIDED_ERROR
from hypothesis import given
from hypothesis import strategies as st
from oracles import (
    TinyPolicy,
    expected_divergence,
    expected_group_gradient,
    expected_reward,
    group_normalised,
    log_ratios,
    tiny_policy,
)
from tree_oracles import (
    FIGURE,
    FIGURE_REWARDS,
    distinct_tokens,
    expected_divided_update,
    log_ratio_of_token,
    prefix_tree,
    set_sizes,
)

from frpo_verl.advantage import (
    centre_by_group,
    count_process_sets,
    describe_sets,
    lambda_grpo,
    lambda_grpo_mean_one,
    normalise_by_group,
    process_set_sizes,
    regularise_batch,
    return_to_go,
    uniform_mean,
)
from frpo_verl.divergences import REVERSE_KL

pytestmark = pytest.mark.filterwarnings("error")

ALL = (lambda_grpo, lambda_grpo_mean_one, uniform_mean)


def padded(responses):
    """Token ids and the mask of what is there."""
    length = max(map(len, responses))
    ids = torch.tensor([[*response, *[0] * (length - len(response))] for response in responses])
    return ids, torch.arange(length) < torch.tensor([len(response) for response in responses])[:, None]


def sets_and_mask(responses, groups=None):
    ids, mask = padded(responses)
    return count_process_sets(ids, mask, torch.tensor(groups or [0] * len(responses))), mask


def test_golden():
    # All three share the first token, two the second: Σ 1/|λ| = 3 · 1/3 + 2 · 1/2 + 1 = 3, of six tokens.
    sets, mask = sets_and_mask([(1, 2), (1, 2), (1, 3)])
    expected = torch.tensor([[1 / 3, 1 / 2], [1 / 3, 1 / 2], [1 / 3, 1.0]])
    assert torch.allclose(lambda_grpo(sets, mask), expected, rtol=1e-7)
    assert torch.allclose(lambda_grpo_mean_one(sets, mask), 2 * expected, rtol=1e-7)
    assert torch.allclose(uniform_mean(sets, mask), torch.full((3, 2), 0.5), rtol=1e-7)


def test_observations_lengthen_the_prefix_and_have_no_weight():
    # Token 2 is a tool's answer, which parts the two responses; the mean is over the three tokens of the policy.
    sets, _ = sets_and_mask([(1, 5, 3), (1, 6, 3)])
    mask = torch.tensor([[1, 0, 1], [1, 0, 1]])
    assert lambda_grpo(sets, mask).tolist() == [[0.5, 0.0, 1.0]] * 2
    assert torch.equal(uniform_mean(sets, mask), 0.75 * mask)
    assert torch.allclose(lambda_grpo_mean_one(sets, mask), torch.tensor([[2 / 3, 0.0, 4 / 3]] * 2))


@pytest.mark.parametrize("method", ALL)
def test_without_a_valid_token_nothing_is_divided_by_nothing(method):
    sets, mask = sets_and_mask([(1, 2), (1, 3)])
    assert not method(sets, torch.zeros_like(mask)).any()


@pytest.mark.parametrize("method", ALL)
def test_weights_are_float32_and_those_of_one_response_alone_are_one(method):
    sets, mask = sets_and_mask([(1, 2, 3)])
    weights = method(sets, mask)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, torch.ones(1, 3))


def test_rows_that_begin_in_different_columns():
    # as `padding on either side` has it; an odd mask marks the policy's tokens
    ids = torch.tensor([[7, 1, 2, 3], [1, 2, 4, 7], [7, 7, 1, 2]])
    present = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 0], [0, 0, 1, 1]])
    sets = count_process_sets(ids, present, torch.zeros(3).long())
    mask = torch.tensor([[0, 1, 0, 5], [1, 0, 1, 0], [0, 0, 1, 0]])
    third, mean = 1 / 3, (3 / 3 + 2) / 5
    expected = torch.tensor([[0, third, 0, 1], [third, 0, 1, 0], [0, 0, third, 0]])
    assert torch.allclose(lambda_grpo(sets, mask), expected, rtol=1e-7)
    assert torch.allclose(lambda_grpo_mean_one(sets, mask), expected / mean, rtol=1e-6)
    assert torch.allclose(uniform_mean(sets, mask), mean * mask.bool(), rtol=1e-7)
    assert describe_sets(sets, mask, torch.zeros(3).long()) == (pytest.approx(mean), 3 / 5, 0, 0)


responses = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=8)


@given(responses, st.data())
def test_every_token_of_the_trees_counts_once(found, data):
    groups = data.draw(st.lists(st.integers(0, 1), min_size=len(found), max_size=len(found)))
    sets, mask = sets_and_mask(found, groups)
    trees = [[response for response, group in zip(found, groups, strict=True) if group == name] for name in (0, 1)]
    distinct, tokens = sum(distinct_tokens(prefix_tree(tree)) for tree in trees), int(mask.sum())
    by_size, mean_one, uniform = (method(sets, mask)[mask].double() for method in ALL)
    # float32: 48 tokens of up to 8 each, rounded to 6e-8
    assert by_size.sum().item() == pytest.approx(distinct, abs=1e-5)
    assert uniform.sum().item() == pytest.approx(distinct, abs=1e-5)
    assert mean_one.sum().item() == pytest.approx(tokens, abs=1e-5)
    assert torch.allclose(mean_one * distinct, by_size * tokens, rtol=1e-6, atol=0)


def test_the_papers_figure():
    # Steps {1,2}, {3,4,5}, {4,5}: node advantages +.22, −.22, −1.11; {3} +1.55, {6} +.22. Only the sample deviation
    # gives them.
    advantage = normalise_by_group(torch.tensor(FIGURE_REWARDS, dtype=torch.float64), torch.zeros(6).long(), 0.0)
    sets, mask = sets_and_mask(FIGURE)
    weighed = (lambda_grpo(sets, mask).double() * advantage[:, None]).tolist()
    of_steps = {(7,): 0.0, (8,): 0.0, (8, 6): 0.0, (8, 5): 0.0, (9,): 0.0}
    for response, row in zip(FIGURE, weighed, strict=True):
        for length in (1, 2):
            if response[:length] in of_steps:
                of_steps[response[:length]] += row[length - 1]
    # By λ-GRPO's weights the members of a step add up to its mean, the step's advantage.
    assert list(of_steps.values()) == pytest.approx([0.22, -0.22, -1.11, 1.55, 0.22], abs=5e-3)


# ---- Theorem: GRPO is its process-reward form ----


def loss(policy, old, group, values):
    """1/ΣLen Σ_i Σ_t π(y_t)/π_old(y_t) · values_{i,t}, without the KL term, which both forms have."""
    total = sum(
        ratio * value
        for response, row in zip(group, values, strict=True)
        for ratio, value in zip((policy.log_probs(response) - old.log_probs(response)).exp(), row, strict=True)
    )
    return total / sum(map(len, group))


def of_nodes(group, of_response):
    """The mean over λ(i,t) of one number per response, for every token: a node is the prefix that leads to it."""
    rows = []
    for response in group:
        members = [
            [value for other, value in zip(group, of_response, strict=True) if other[: t + 1] == response[: t + 1]]
            for t in range(len(response))
        ]
        rows.append([sum(values) / len(values) for values in members])
    return rows


def reward(response):
    return float(sum(response) % 3)


def test_grpo_is_its_process_reward_form():
    # L_PRM = L_GRPO in value and gradient, for any policy and any group: on a shared prefix the ratio is the same. The
    # process rewards are normalised by the outcome rewards' mean and deviation.
    policy, old = tiny_policy(1, 2), tiny_policy(2, 2, requires_grad=False)
    differing = 0
    for group in itertools.combinations_with_replacement([response for response, _ in policy.responses()], 3):
        rewards = [reward(response) for response in group]
        outcome = group_normalised(rewards, [0] * 3, 1e-6)
        grpo = [[value] * len(response) for response, value in zip(group, outcome, strict=True)]
        mean, std = sum(rewards) / 3, torch.tensor(rewards, dtype=torch.float64).std().item() + 1e-6
        process = [[(value - mean) / std for value in row] for row in of_nodes(group, rewards)]
        differing += process != grpo
        losses = [loss(policy, old, group, values) for values in (grpo, process)]
        gradients = [torch.autograd.grad(value, policy.logits)[0] for value in losses]
        assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-10)
        assert torch.allclose(*gradients, rtol=0, atol=1e-10)
    assert differing > 20


def test_lambda_grpo_is_the_sum_over_distinct_tokens():
    # Eq. 9: every token of the tree once, with the mean advantage of those that pass; GRPO counts it |λ| times.
    policy, old = tiny_policy(1, 2), tiny_policy(2, 2, requires_grad=False)
    for group in itertools.combinations_with_replacement([response for response, _ in policy.responses()], 3):
        outcome = group_normalised([reward(response) for response in group], [0] * 3, 1e-6)
        sets, mask = sets_and_mask(group)
        weights = [row[valid].tolist() for row, valid in zip(lambda_grpo(sets, mask).double(), mask, strict=True)]
        ours = [[w * value for w in row] for row, value in zip(weights, outcome, strict=True)]
        once = {}
        for response, row in zip(group, of_nodes(group, outcome), strict=True):
            once |= {response[: t + 1]: value for t, value in enumerate(row)}
        ratio = {prefix: (policy.log_probs(prefix) - old.log_probs(prefix))[-1].exp() for prefix in once}
        expected = sum(ratio[prefix] * value for prefix, value in once.items()) / sum(map(len, group))
        # weights are float32
        assert loss(policy, old, group, ours).item() == pytest.approx(expected.item(), abs=1e-6)


def released_token_loss(ratio, advantage, size, clip):
    """What the authors' code (github coli-saar/grpo-prm, 6bc58b1) has for one token: it clips, and then weighs."""
    return -min(min(max(ratio, 1 - clip), 1 + clip) * advantage, ratio * advantage) / size


def verls_loss(advantages, ratio, mask, dual_clip):
    from omegaconf import OmegaConf
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla

    clips = {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2, "clip_ratio_c": dual_clip}
    config = OmegaConf.create({**clips, "global_batch_info": {}})
    return compute_policy_loss_vanilla(0 * ratio, ratio.log(), advantages, mask, "token-mean", config)[0].item()


def test_a_weighted_advantage_is_the_released_loss_where_verl_clips():
    # min and clip are positively homogeneous in the advantage
    pytest.importorskip("verl")
    sets, mask = sets_and_mask(FIGURE)
    ratio = torch.tensor([0.5, 1.0, 1.1, 3.0], dtype=torch.float64)[torch.randint(4, mask.shape)]
    advantages = normalise_by_group(torch.tensor(FIGURE_REWARDS, dtype=torch.float64), torch.zeros(6).long())[:, None]
    advantages, weights = advantages.expand(mask.shape), lambda_grpo(sets, mask).double()
    slots = list(zip(*(axis.tolist() for axis in mask.nonzero(as_tuple=True)), strict=True))
    sizes = set_sizes(FIGURE, [0] * 6)
    numbers = [(ratio[i, t].item(), advantages[i, t].item(), sizes[i][t]) for i, t in slots]
    expected = sum(released_token_loss(*of_token, 0.2) for of_token in numbers) / len(slots)
    # the weights are float32; the authors have no second clip
    assert verls_loss(weights * advantages, ratio, mask, 1e9) == pytest.approx(expected, abs=1e-7)

    def alone(slot):
        this = torch.zeros_like(mask)
        this[slot] = True
        return verls_loss(advantages, ratio, this, 2.0)

    expected = sum(weights[slot].item() * alone(slot) for slot in slots) / len(slots)
    found = verls_loss(weights * advantages, ratio, mask, 2.0)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found < verls_loss(weights * advantages, ratio, mask, 1e9)


# ---- Figures ----


def test_figures_of_a_batch():
    # Group 0: three copies of three tokens, and one that shares a token; group 1 is flat; others have one response or
    # none with a token. Of the 18 tokens 10 are shared, of 8 responses 3 are copies.
    found = [(1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 4), (1, 2), (2,), (5, 5, 5), (), (9,), ()]
    ids, mask = padded(found)
    group = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3, 4, 4])
    sets = count_process_sets(ids, mask, group)
    mean_weight, shared, flat, duplicates = describe_sets(sets, mask, group)
    assert mean_weight == pytest.approx((4 / 4 + 6 / 3 + 8) / 18)
    assert shared == 10 / 18
    # groups of two responses and more: 0 and 1; a response without a token is none
    assert flat == 1 / 2
    assert duplicates == 3 / 8
    # an observation is not counted, and still shared
    assert describe_sets(sets, mask & (ids != 1), group).shared_tokens == 6 / 13
    assert describe_sets(sets, torch.zeros_like(mask), group) == (0, 0, 1 / 2, 3 / 8)


def test_figures_of_nothing():
    sets = count_process_sets(torch.zeros(2, 3).long(), torch.zeros(2, 3), torch.zeros(2).long())
    assert describe_sets(sets, torch.zeros(2, 3), torch.zeros(2).long()) == (0, 0, 0, 0)


# ---- Where the divergence's part belongs ----


def expected_update(policy, reference, group_size, advantages_of):
    """E (1/k) Σ_i Σ_t Â_{i,t} ∇log π over all ordered groups of k, which `advantages_of` sees as one batch."""
    found = [response for response, _ in policy.responses()]
    groups = list(itertools.product(found, repeat=group_size))
    rows = [response for group in groups for response in group]
    ids, mask = padded(rows)
    delta_of = {response: log_ratios(policy, reference, response) for response in found}
    delta = torch.tensor([delta_of[row] + [0.0] * (mask.shape[1] - len(row)) for row in rows], dtype=torch.float64)
    group = torch.arange(len(groups)).repeat_interleave(group_size)
    scores = torch.tensor([reward(row) for row in rows], dtype=torch.float64)
    advantages = advantages_of(scores, group, delta, mask, ids).view(len(groups), group_size, -1).tolist()
    return expected_group_gradient(policy, group_size, dict(zip(groups, advantages, strict=True)).__getitem__)


def gradient_of_kl(policy, reference):
    return torch.autograd.grad(expected_divergence(policy, reference, lambda u: -torch.log(u)), policy.logits)[0]


def divided_divergence(policy, reference, group_size):
    return expected_divided_update(policy, log_ratio_of_token(policy, reference), group_size)


def relative_error(estimate, exact):
    return ((estimate - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize(("group_size", "max_length"), [(2, 3), (3, 2)])
def test_next_to_a_weighted_reward_the_undivided_term_is_the_gradient_of_the_divergence(group_size, max_length):
    policy, reference = tiny_policy(1, max_length), tiny_policy(2, max_length, requires_grad=False)

    def rewards_part(scores, group, delta, mask, ids):
        weights = lambda_grpo(count_process_sets(ids, mask, group), mask)
        return weights.double() * centre_by_group(scores, group)[:, None]

    def whole(scores, group, delta, mask, ids):
        weighted = rewards_part(scores, group, delta, mask, ids)
        return regularise_batch(weighted, delta, torch.zeros_like(delta), mask, 0.3).advantages

    of_reward, of_both = (expected_update(policy, reference, group_size, part) for part in (rewards_part, whole))
    assert torch.allclose(of_both - of_reward, -0.3 * gradient_of_kl(policy, reference), rtol=0, atol=1e-10)
    assert of_reward.norm() > 0.01


@pytest.mark.parametrize(("group_size", "max_length"), [(2, 3), (3, 2)])
def test_the_divided_term_is_the_closed_form(group_size, max_length):
    policy, reference = tiny_policy(1, max_length), tiny_policy(2, max_length, requires_grad=False)

    def divided(scores, group, delta, mask, ids):
        return return_to_go(delta, mask, REVERSE_KL) / process_set_sizes(ids, mask, group).clamp(min=1)

    found = expected_update(policy, reference, group_size, divided)
    closed = divided_divergence(policy, reference, group_size).detach() / group_size
    assert torch.allclose(found, closed, rtol=0, atol=1e-10)
    assert relative_error(found, gradient_of_kl(policy, reference)) > 0.1


@pytest.mark.parametrize("group_size", DIVIDED_ERROR)
def test_how_far_the_divided_term_is_from_the_gradient_of_the_divergence(group_size):
    policy, reference = tiny_policy(1), tiny_policy(2, requires_grad=False)
    exact = gradient_of_kl(policy, reference)
    divided = divided_divergence(policy, reference, group_size).detach() / group_size
    scaled = divided * (divided * exact).sum() / divided.square().sum()
    found = relative_error(divided, exact), relative_error(scaled, exact)
    assert found == pytest.approx(DIVIDED_ERROR[group_size], abs=5e-5)


def asymmetry(update):
    """‖J − Jᵀ‖ / ‖J‖ of an update's Jacobian in the logits; 0 for a gradient of anything."""
    policy = tiny_policy(1)
    jacobian = torch.autograd.functional.jacobian(
        lambda logits: update(TinyPolicy(logits, policy.max_length)).flatten(), policy.logits.detach()
    ).flatten(1)
    return ((jacobian - jacobian.T).norm() / jacobian.norm()).item()


def test_the_divided_term_is_the_gradient_of_nothing():
    policy, reference = tiny_policy(1), tiny_policy(2, requires_grad=False)
    of_one = divided_divergence(policy, reference, 1).detach()
    assert torch.allclose(of_one, gradient_of_kl(policy, reference), rtol=0, atol=1e-12)
    found = [asymmetry(lambda policy, k=k: divided_divergence(policy, reference, k)) for k in (1, 2, 6)]
    assert found[0] < 1e-12
    assert found[1:] == pytest.approx([0.0435, 0.2185], abs=5e-5)


def test_nor_is_the_reward_part_of_lambda_grpo():
    def update(policy, group_size):
        complete = {response for response, _ in policy.responses()}

        def reward_at_the_end(prefix):
            return torch.tensor(reward(prefix) if prefix in complete else 0.0, dtype=torch.float64)

        return expected_divided_update(policy, reward_at_the_end, group_size)

    policy = tiny_policy(1)
    (exact,) = torch.autograd.grad(expected_reward(policy, reward), policy.logits)
    assert torch.allclose(update(policy, 1).detach(), exact, rtol=0, atol=1e-12)
    assert asymmetry(lambda policy: update(policy, 1)) < 1e-12
    assert asymmetry(lambda policy: update(policy, 6)) > 0.1
