import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import group_normalised
from regulariser_oracles import centred, population_normalised_groups

from frpo_verl.advantage import (
    centre_by_group,
    drop_score,
    keep_score,
    normalise_by_group,
    normalise_by_group_population,
    number_groups,
)
from frpo_verl.checks import InvalidInput

pytestmark = pytest.mark.filterwarnings("error")

EPSILON = 1e-6
ALL = [normalise_by_group, normalise_by_group_population, centre_by_group]
cases = st.lists(st.tuples(st.floats(-10, 10), st.integers(-2, 3)), min_size=1, max_size=12)


def _tensors(case) -> tuple[torch.Tensor, torch.Tensor]:
    scores, groups = zip(*case, strict=True)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(groups)


def test_golden_of_the_sample_form():
    scores = torch.tensor([1.0, 0.0, 5.0, 1.0], dtype=torch.float64)
    # group 7: mean 2/3, deviations 1/3, -2/3, 1/3, sample variance (6/9)/2 = 1/3; group 9 is alone and keeps its score
    std = math.sqrt(1 / 3) + EPSILON
    expected = [1 / 3 / std, -2 / 3 / std, 5 / (1 + EPSILON), 1 / 3 / std]
    assert normalise_by_group(scores, torch.tensor([7, 7, 9, 7])).tolist() == pytest.approx(expected, abs=1e-14)


def test_golden_of_the_population_form_and_of_centring():
    scores, group = torch.tensor([1.0, 0.0, 5.0, 1.0], dtype=torch.float64), torch.tensor([7, 7, 9, 7])
    # population variance (6/9)/3 = 2/9
    std = math.sqrt(2 / 9) + EPSILON
    expected = [1 / 3 / std, -2 / 3 / std, 5 / (1 + EPSILON), 1 / 3 / std]
    assert normalise_by_group_population(scores, group).tolist() == pytest.approx(expected, abs=1e-14)
    assert centre_by_group(scores, group).tolist() == pytest.approx([1 / 3, -2 / 3, 5, 1 / 3], abs=1e-15)


@given(cases)
def test_the_sample_form_equals_the_definition_written_as_a_loop(case):
    scores, groups = _tensors(case)
    expected = torch.tensor(group_normalised(scores.tolist(), groups.tolist(), EPSILON), dtype=torch.float64)
    # the division by a std + 1e-6 near 0 magnifies rounding of the mean by up to 1e6
    assert torch.allclose(normalise_by_group(scores, groups), expected, rtol=1e-9, atol=1e-8)


@given(cases)
def test_the_population_form_equals_the_definition_written_as_a_loop(case):
    scores, groups = _tensors(case)
    rows = population_normalised_groups(scores.tolist(), groups.tolist(), EPSILON)
    expected = torch.tensor(rows, dtype=torch.float64)
    assert torch.allclose(normalise_by_group_population(scores, groups), expected, rtol=1e-9, atol=1e-8)


@given(cases)
def test_centring_equals_the_definition_written_as_a_loop(case):
    scores, groups = _tensors(case)
    expected = torch.tensor(centred(scores.tolist(), groups.tolist()), dtype=torch.float64)
    assert torch.allclose(centre_by_group(scores, groups), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", ALL)
def test_a_group_of_one_keeps_or_drops_its_score(form):
    scores, group = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64), torch.tensor([0, 1, 1])
    scale = 1.0 if form is centre_by_group else 1 + EPSILON
    assert form(scores, group, alone=keep_score)[0].item() == pytest.approx(3 / scale, abs=1e-15)
    assert form(scores, group, alone=drop_score)[0].item() == 0.0
    assert torch.equal(form(scores, group, alone=keep_score)[1:], form(scores, group, alone=drop_score)[1:])


@pytest.mark.parametrize("form", ALL)
@given(case=cases, random=st.randoms())
def test_the_order_of_the_responses_does_not_matter(form, case, random):
    scores, groups = _tensors(case)
    order = list(range(len(scores)))
    random.shuffle(order)
    assert torch.allclose(form(scores[order], groups[order]), form(scores, groups)[order], rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("form", ALL)
@pytest.mark.parametrize(("reward", "size"), [(1.0, 4), (99.9, 7), (10.3, 16), (0.1, 7), (1.3, 7)])
def test_identical_rewards_give_zero(form, reward, size):
    # in float32 the mean of seven times 99.9 is not 99.9, and the rest over ε would be 0.8; float64 leaves 1e-14 over ε
    assert form(torch.full((size,), reward), torch.zeros(size, dtype=torch.int64)).abs().max() < 1e-7


@pytest.mark.parametrize("form", ALL)
def test_groups_do_not_touch_each_other(form):
    scores, groups = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0, 0, 1, 1])
    changed = form(torch.tensor([1.0, 0.0, 100.0, -7.0]), groups)
    assert torch.equal(changed[:2], form(scores, groups)[:2])


@pytest.mark.parametrize("form", ALL)
def test_ranks_that_hold_whole_groups_see_the_same(form):
    scores, groups = torch.randn(20, dtype=torch.float64), torch.arange(20) // 5
    parts = [form(scores[rank * 10 : rank * 10 + 10], groups[rank * 10 : rank * 10 + 10]) for rank in range(2)]
    assert torch.allclose(torch.cat(parts), form(scores, groups), rtol=0, atol=1e-14)


@pytest.mark.parametrize("form", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single_precision(form, dtype):
    scores, groups = torch.tensor([1.0, 0.0, 0.25, 0.5]).to(dtype), torch.zeros(4, dtype=torch.int64)
    assert torch.equal(form(scores, groups), form(scores.float(), groups))


def test_the_two_forms_differ_by_the_square_root_of_g_over_g_minus_one():
    scores, groups = torch.randn(5, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    ratio = normalise_by_group_population(scores, groups, 0.0) / normalise_by_group(scores, groups, 0.0)
    assert ratio.tolist() == pytest.approx([math.sqrt(5 / 4)] * 5, abs=1e-14)


@pytest.mark.parametrize(("form", "norm"), [(normalise_by_group, True), (centre_by_group, False)])
def test_matches_verls_grpo(form, norm):
    pytest.importorskip("verl")
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    scores, groups = torch.randn(61, dtype=torch.float64), torch.arange(61) // 5
    host, _ = compute_grpo_outcome_advantage(
        scores[:, None].clone(), torch.ones(61, 1), groups.cpu().numpy(), norm_adv_by_std_in_grpo=norm
    )
    # the last response is alone in its group, where verl rounds 1 + ε to float32
    assert torch.allclose(form(scores, groups)[:60], host[:60, 0], rtol=0, atol=1e-12)
    assert form(scores, groups)[60].item() == pytest.approx(host[60, 0].item(), rel=1e-7)


@pytest.mark.parametrize("form", ALL)
def test_bad_scores_are_refused_by_sample(form):
    with pytest.raises(InvalidInput, match="scores of sample 1 is nan: look at the sample's reward"):
        form(torch.tensor([0.0, math.nan, math.inf]), torch.zeros(3, dtype=torch.int64))


def test_groups_are_numbered_in_the_order_of_their_first_response():
    assert number_groups(["b", "a", "b"]).tolist() == [0, 1, 0]
