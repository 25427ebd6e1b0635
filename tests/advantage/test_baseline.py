"""The baseline of the whole weight against loops, and its expected gradient by enumeration of every batch."""

import itertools
import math

import baseline_oracles as oracle
import pytest
import torch
from batches import way  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import (
    END,
    expected_divergence,
    expected_reward,
    group_normalised,
    group_utility_slope,
    log_ratios,
    return_to_go,
    tiny_policy,
    weighted_score,
)
from textbook import f_of

from frpo_verl.advantage import (
    Variant,
    at_position,
    diagnose,
    fitted_elsewhere,
    no_moments,
    normalise_by_group,
    regularise_batch,
    remembered,
    subtract_baseline,
)
from frpo_verl.checks import InvalidInput
from frpo_verl.divergences import BY_NAME, Generator

pytestmark = pytest.mark.filterwarnings("error")
both_ways = pytest.mark.usefixtures("way")

UNEVEN = Generator("uneven", local=lambda delta: 3 * delta, future=torch.square)
PARTS = {
    "k1": (BY_NAME["k1"], lambda d: d, lambda d: d),
    "uneven": (UNEVEN, lambda d: 3 * d, lambda d: d * d),
}
BETA = 0.3
EXACT = 1e-10


def run(outcome, delta, mask, group, beta=BETA, generator=BY_NAME["k1"], baseline="fitted", **given_too):
    variant = Variant(baseline=baseline, **given_too.pop("changes", {}))
    return regularise_batch(
        outcome, delta, torch.zeros_like(delta), mask, beta, generator, variant, group, **given_too
    )  # fmt: skip


def normal_of(moments: torch.Tensor) -> oracle.Normal:
    return moments[:5, :5].tolist(), moments[:5, 5].tolist()


def some_memory() -> torch.Tensor:
    rows = torch.randn(40, 6, dtype=torch.float64)
    return rows.T @ rows


@both_ways
def test_golden_of_the_fit():
    # one token each, at the reference: of the columns only the constant is there
    outcome, delta = torch.tensor([2.0, -1.0]).double(), torch.zeros(2, 1).double()
    done = run(outcome, delta, torch.ones(2, 1), torch.tensor([5, 3]))
    assert done.advantages[:, 0].tolist() == pytest.approx([2 + 1 / 1.3, -1 - 2 / 1.3], abs=1e-15)
    assert done.baseline.r2 == pytest.approx(1 - ((2 + 1 / 1.3) ** 2 + (1 + 2 / 1.3) ** 2) / 5, abs=1e-14)
    assert done.baseline.coefficients.tolist() == pytest.approx([(2 - 1) / 1.3 / 2, 0, 0, 0, 0], abs=1e-15)
    next_memory = remembered(no_moments(), done.baseline.moments)
    assert (next_memory[0, 0].item(), next_memory[0, 5].item()) == pytest.approx((1.8, 0.9))


@both_ways
def test_golden_of_the_mean_at_a_position():
    # tool output at the second slot of the first: its tokens are at places 0 and 1
    delta = torch.tensor([[2.0, 9.0, 3.0], [4.0, 1.0, 9.0], [6.0, 9.0, 9.0]]).double()
    mask = torch.tensor([[1, 0, 1], [1, 1, 0], [1, 0, 0]])
    done = run(torch.full((3,), 10.0).double(), delta, mask, torch.zeros(3).long(), 1.0, baseline="loo_position")
    # reg: 5, 3; 5, 1; 6
    expected = [[10 - 5 + 11 / 2, 0, 10 - 3 + 1], [10 - 5 + 11 / 2, 10 - 1 + 3, 0], [10 - 6 + 5, 0, 0]]
    assert done.advantages.tolist() == expected
    squares = [25, 49, 25, 81, 16]
    left = [expected[row][slot] ** 2 for row, slot in ((0, 0), (0, 2), (1, 0), (1, 1), (2, 0))]
    assert done.baseline.r2 == pytest.approx(1 - sum(left) / sum(squares))


@st.composite
def cases(draw):
    rows, length = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    flag = st.booleans()
    mask = draw(st.lists(st.lists(flag, min_size=length, max_size=length), min_size=rows, max_size=rows))
    group = draw(st.lists(st.integers(-1, 2), min_size=rows, max_size=rows))
    # a rollout is of one group
    rollout = [10 * name + draw(st.integers(0, 2)) for name in group]
    return torch.tensor(mask), torch.tensor(group), torch.tensor(rollout)


@both_ways
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    cases(),
    st.sampled_from(list(PARTS)),
    st.sampled_from(["fitted", "loo_position"]),
    *[st.booleans()] * 3,
    st.integers(0, 2**20),
)
def test_equals_the_definition_written_as_a_loop(case, name, kind, of_tokens, has_rollouts, has_memory, seed):
    mask, group, rollout = case
    torch.manual_seed(seed)
    delta, outcome = torch.randn(mask.shape).double(), torch.randn(len(mask)).double()
    if of_tokens:
        outcome = outcome[:, None] + torch.randn(mask.shape)
    memory = some_memory() if has_memory else None
    generator, local, future = PARTS[name]
    rollouts = rollout if has_rollouts else None
    done = run(outcome, delta, mask, group, generator=generator, baseline=kind, rollout=rollouts, earlier=memory)
    per_token = outcome if of_tokens else outcome[:, None].expand(mask.shape)
    expected, r2, later = oracle.baselined(
        per_token.tolist(),
        return_to_go(delta.tolist(), mask.tolist(), local, future),
        [[future(d) for d in row] for row in delta.tolist()],
        mask.tolist(),
        group.tolist(),
        BETA,
        rollouts=None if rollouts is None else rollouts.tolist(),
        earlier=None if memory is None else normal_of(memory),
        kind=kind,
    )
    expected = torch.where(
        mask, torch.tensor(expected, dtype=torch.float64).reshape(mask.shape), outcome if of_tokens else 0.0
    )
    # a group whose columns are a thousandth of another's gives coefficients that reach far: relative to that
    assert torch.allclose(done.advantages, expected, rtol=EXACT, atol=EXACT)
    assert done.baseline.r2 == pytest.approx(r2, rel=1e-9, abs=1e-9)
    found = remembered(no_moments() if memory is None else memory, done.baseline.moments)
    assert torch.allclose(found[:5, :5], torch.tensor(later[0], dtype=torch.float64), rtol=1e-10, atol=EXACT)
    assert torch.allclose(found[:5, 5], torch.tensor(later[1], dtype=torch.float64), rtol=1e-10, atol=EXACT)
    coefficients = (
        at_position(BETA) if kind == "loo_position" else fitted_elsewhere(no_moments() if memory is None else memory)
    )
    alone, _ = subtract_baseline(outcome, delta, mask, BETA, group, coefficients, generator, rollouts)
    assert torch.allclose(alone, expected, rtol=EXACT, atol=EXACT)


@both_ways
def test_with_the_current_policys_term_only_the_baseline_is_subtracted_here():
    outcome, delta, mask = torch.randn(6).double(), torch.randn(6, 4).double(), torch.rand(6, 4) > 0.2
    group = torch.arange(6) // 2
    for kind in ("fitted", "loo_position"):
        whole = run(outcome, delta, mask, group, baseline=kind)
        left = run(outcome, delta, mask, group, baseline=kind, changes={"kl": "current"})
        reg = torch.tensor(return_to_go(delta.tolist(), mask.tolist(), lambda d: d, lambda d: d), dtype=torch.float64)
        assert torch.allclose(left.advantages - BETA * reg, whole.advantages, rtol=0, atol=1e-12)
        assert left.baseline.r2 == whole.baseline.r2


# ---- Every batch of two groups of two ----


def world(max_length: int, sampler=None):
    """π, π_ref and, of every response, its chance under the sampler, π if none is given, log μ − log π_ref, score."""
    policy, reference = tiny_policy(1, max_length), tiny_policy(2, max_length, requires_grad=False)
    enumerated = [(response, p.item()) for response, p in (sampler or policy).responses()]
    deltas = [log_ratios(sampler or policy, reference, response) for response, _ in enumerated]
    scores = [float(response[0] == 0 and response[-1] == END) for response, _ in enumerated]
    return policy, reference, enumerated, deltas, scores


def gradient_of_the_objective(policy, reference, f):
    """∇(ℓ'(p)·p − β·D): Proposition 3.1 at a group of two, with the sample deviation."""
    p = expected_reward(policy, lambda response: float(response[0] == 0 and response[-1] == END))
    slope = group_utility_slope(p.item(), 2) * math.sqrt(1 / 2)
    return torch.autograd.grad(slope * p - BETA * expected_divergence(policy, reference, f), policy.logits)[0]


def expected_gradient(max_length: int, advantages_of, sampler=None) -> torch.Tensor:
    """E_μ (1/4) Σ_i Σ_t Â_it ρ_it ∇log π over all batches of two groups of two, μ = π where there is no sampler.

    `advantages_of` sees scores, δ of μ and group.
    """
    policy, _, enumerated, deltas, scores = world(max_length, sampler)
    width = max(map(len, deltas))
    delta = torch.tensor([row + [math.nan] * (width - len(row)) for row in deltas], dtype=torch.float64)
    total = torch.zeros(len(deltas), width, dtype=torch.float64)
    pairs = list(itertools.combinations_with_replacement(range(len(deltas)), 2))
    for one, other in itertools.combinations_with_replacement(pairs, 2):
        rows = torch.tensor([*one, *other])
        orders = (1 + (one != other)) * math.prod(1 + (a != b) for a, b in (one, other))
        probability = orders * math.prod(enumerated[row][1] for row in rows.tolist())
        found = advantages_of(torch.tensor(scores).double()[rows], delta[rows], torch.tensor([0, 0, 1, 1]))
        total.index_add_(0, rows, found * (probability / 4))

    def of_response(row: int, response) -> torch.Tensor:
        ratios = [math.exp(d) for d in log_ratios(policy, sampler or policy, response)]
        return weighted_score(policy, response, [total[row, t].item() * ratio for t, ratio in enumerate(ratios)])

    return sum(of_response(row, response) for row, (response, _) in enumerate(enumerated))


@pytest.mark.parametrize(
    ("way", "divergence", "kind", "remembers", "changes"),
    [
        ("fused", "forward_kl", "fitted", False, {}),
        ("fused", "k1", "fitted", True, {"step_length": 2}),
        ("fused", "k3", "loo_position", False, {}),
        ("as defined", "k3", "fitted", True, {}),
    ],
    indirect=["way"],
)
def test_the_expected_gradient_is_that_of_the_objective(way, divergence, kind, remembers, changes):  # noqa: F811
    generator, earlier = BY_NAME[divergence], some_memory() if remembers else None
    exact = gradient_of_the_objective(*world(2)[:2], f_of(generator))

    def advantages_of(scores, delta, group):
        outcome = normalise_by_group(scores, group, 1e-300)
        more = {"generator": generator, "baseline": kind, "earlier": earlier, "changes": changes}
        return run(outcome, delta, ~delta.isnan(), group, **more).advantages

    assert torch.allclose(expected_gradient(2, advantages_of), exact, rtol=0, atol=EXACT)
    assert exact.norm() > 0.01


def by_loops(scores, delta, group, **changed):
    mask = (~delta.isnan()).tolist()
    rows = delta.nan_to_num().tolist()
    outcome = group_normalised(scores.tolist(), group.tolist(), 1e-300)
    reg = return_to_go(rows, mask, lambda d: d, lambda d: d)
    outcome = [[value] * len(row) for value, row in zip(outcome, rows, strict=True)]
    return oracle.baselined(outcome, reg, rows, mask, group.tolist(), BETA, **changed)[0]


@pytest.mark.parametrize(("kind", "error"), [("fitted", (0.0, EXACT)), ("in sample", (0.1, 10.0))])
def test_the_own_group_in_the_fit_is_a_bias(kind, error):
    exact = gradient_of_the_objective(*world(2)[:2], f_of(BY_NAME["k1"]))
    estimate = expected_gradient(2, lambda *of: torch.tensor(by_loops(*of, kind=kind), dtype=torch.float64))
    assert error[0] <= ((estimate - exact).norm() / exact.norm()).item() < error[1]


@pytest.mark.parametrize("kind", ["fitted", "loo_position"])
def test_what_is_sent_to_later_updates_has_the_expected_gradient_of_the_outcome(kind):
    # `kl=current`: the workers subtract their term, traced or not, from the outcome less the rollout's z·θ
    sampler = tiny_policy(3, 2, requires_grad=False)

    def outcome_of(scores, group):
        return normalise_by_group(scores, group, 1e-300)

    def sent(scores, delta, group):
        changes = {"kl": "current", "stale": "vtrace"}
        return run(outcome_of(scores, group), delta, ~delta.isnan(), group, baseline=kind, changes=changes).advantages

    def alone(scores, delta, group):
        return outcome_of(scores, group)[:, None].expand(delta.shape)

    exact = expected_gradient(2, alone, sampler)
    assert torch.allclose(expected_gradient(2, sent, sampler), exact, rtol=0, atol=EXACT)
    assert exact.norm() > 0.01


@pytest.mark.thorough
def test_every_batch_of_three_tokens_too():
    exact = gradient_of_the_objective(*world(3)[:2], f_of(BY_NAME["k1"]))

    def advantages_of(scores, delta, group):
        return run(normalise_by_group(scores, group, 1e-300), delta, ~delta.isnan(), group).advantages

    assert torch.allclose(expected_gradient(3, advantages_of), exact, rtol=0, atol=EXACT)


# ---- Bad batches ----


def batch(rows=12, length=9, dtype=torch.float64):
    mask = torch.rand(rows, length) > 0.3
    return torch.randn(rows, dtype=dtype), torch.randn(rows, length, dtype=dtype), mask, torch.arange(rows) // 3


@both_ways
@pytest.mark.parametrize("divergence", [BY_NAME["k1"], BY_NAME["k3"]])
def test_one_group_without_a_memory_is_left_as_it_is(divergence):
    outcome, delta, mask, group = batch()
    done = run(outcome, delta, mask, torch.zeros_like(group), generator=divergence)
    plain = regularise_batch(outcome, delta, torch.zeros_like(delta), mask, BETA, divergence)
    assert torch.allclose(done.advantages, plain.advantages, rtol=0, atol=1e-14)
    assert (done.baseline.r2, done.baseline.coefficients.tolist()) == (0.0, [0.0] * 5)


@both_ways
@pytest.mark.parametrize("kind", ["fitted", "loo_position"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4, 2)])
def test_nothing_to_weigh_is_nothing_to_subtract(kind, shape):
    delta, group = torch.zeros(shape), torch.arange(shape[0]) // 2
    done = run(torch.zeros(shape[0]), delta, torch.zeros(shape), group, baseline=kind)
    assert (done.advantages.shape, done.baseline.r2) == (shape, 0.0)
    # at the reference with equal rewards
    done = run(torch.zeros(shape[0]), delta, torch.ones(shape), group, baseline=kind)
    assert not done.advantages.any() and done.baseline.r2 == 0.0


@both_ways
@pytest.mark.parametrize("kind", ["fitted", "loo_position"])
def test_groups_of_one_have_no_others(kind):
    outcome, delta, mask, _ = batch()
    done = run(outcome, delta, mask, torch.arange(12), baseline=kind)
    assert done.baseline.moments[2].tolist() == done.baseline.moments[3].tolist() == [0.0] * 6
    if kind == "loo_position":
        plain = regularise_batch(outcome, delta, torch.zeros_like(delta), mask, BETA)
        assert torch.allclose(done.advantages, plain.advantages, rtol=0, atol=1e-14)


@both_ways
def test_columns_that_are_multiples_of_each_other_shrink():
    # every response the same: the others' mean at a place is one's own, and so is their past
    delta = torch.ones(6, 3).double()
    done = run(torch.tensor([1.0, -1.0] * 3).double(), delta, torch.ones(6, 3), torch.arange(6) // 2)
    assert torch.isfinite(done.advantages).all() and done.advantages.abs().max() < 2


@both_ways
def test_rows_without_a_token_and_masked_slots_count_nowhere():
    outcome, delta, mask, group = batch()
    expected = run(outcome, delta, mask, group)
    poisoned = torch.where(mask, delta, math.nan)
    more = torch.cat([poisoned, torch.full((2, 9), math.inf).double()])
    # one in a group of its own, one in a group of others
    found = run(
        torch.cat([outcome, torch.tensor([9.0, 9.0])]),
        more,
        torch.cat([mask, torch.zeros(2, 9).bool()]),
        torch.cat([group, torch.tensor([77, 1])]),
    )
    assert torch.equal(found.advantages[:-2], expected.advantages) and not found.advantages[-2:].any()
    assert torch.equal(found.baseline.moments, expected.baseline.moments)


def test_a_group_is_not_in_its_own_fit_to_the_last_bit():
    # in a difference of sums a loud group would leave its rounding in the fit of itself
    moments = torch.stack([some_memory() for _ in range(4)])
    loud = moments.clone()
    loud[2] *= 1e20
    assert torch.equal(fitted_elsewhere(no_moments())(moments)[2], fitted_elsewhere(no_moments())(loud)[2])


def test_a_column_of_rounding_is_not_fitted_to():
    # its coefficient of 10¹² would meet a group in which the column is of order 1
    rows = torch.ones(50, 6, dtype=torch.float64)
    rows[:, 4] = 1e-12
    theta = fitted_elsewhere(no_moments())(torch.stack([rows.T @ rows, rows.T @ rows]))
    assert theta.abs().max() < 10


def test_the_order_of_the_batch_does_not_matter():
    outcome, delta, mask, group = batch()
    order = torch.randperm(12)
    whole = run(outcome, delta, mask, group)
    shuffled = run(outcome[order], delta[order], mask[order], group[order])
    assert torch.allclose(shuffled.advantages, whole.advantages[order], rtol=0, atol=1e-12)


@both_ways
@pytest.mark.parametrize(("of_tokens", "dtype"), [(False, torch.int64), (True, torch.uint8)])
def test_single_precision_and_other_masks(of_tokens, dtype):
    outcome, delta, mask, group = batch(12, 2500)
    if of_tokens:
        outcome = outcome[:, None].expand(mask.shape).contiguous()
    exact = run(outcome, delta, mask, group, generator=BY_NAME["k3"])
    found = run(outcome.float(), delta.float(), mask.to(dtype), group, generator=BY_NAME["k3"])
    assert found.advantages.dtype == torch.float32
    # reg is of order 1000 here
    assert torch.allclose(found.advantages.double(), exact.advantages, rtol=1e-5, atol=1e-3)


@both_ways
def test_moments_that_overflow_are_not_remembered_and_give_no_baseline():
    outcome, delta, mask, group = batch()
    huge = run(outcome, delta * 1e200, mask, group)
    plain = regularise_batch(outcome, delta * 1e200, torch.zeros_like(delta), mask, BETA)
    assert torch.allclose(huge.advantages, plain.advantages, rtol=1e-12)
    assert huge.baseline.r2 == 0.0
    earlier = some_memory()
    assert remembered(earlier, huge.baseline.moments) is earlier


def test_the_figures_are_those_without_the_baseline(generator):
    outcome, delta, mask, group = batch()
    plain = regularise_batch(outcome, delta, torch.zeros_like(delta), mask, BETA, generator)
    done = run(outcome, delta, mask, group, generator=generator)
    expected, found = (diagnose(each, outcome, mask, BETA) for each in (plain, done))
    assert found.quantiles == pytest.approx(expected.quantiles, abs=1e-9)
    assert found._replace(quantiles=[]) == expected._replace(quantiles=[])


def test_a_baseline_without_groups_is_refused():
    outcome, delta, mask, _ = batch()
    with pytest.raises(InvalidInput, match="baseline=fitted looks at the groups, and group is None: pass it"):
        run(outcome, delta, mask, None)


@both_ways
@pytest.mark.parametrize("of_tokens", [False, True])
def test_what_is_not_finite_is_refused_in_the_same_sentence(of_tokens):
    outcome, delta, mask, group = batch()
    mask[2, 3] = True
    delta[2, 3] = math.nan
    outcome = outcome[:, None].expand(mask.shape).contiguous() if of_tokens else outcome
    with pytest.raises(InvalidInput, match=r"log_ratio of sample 2 at token 3 is nan .* the first of 1: "):
        run(outcome, delta, mask, group)
