import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import group_normalised

from frpo_verl.advantage import normalise_by_group

pytestmark = pytest.mark.filterwarnings("error")

EPSILON = 1e-6
cases = st.lists(st.tuples(st.floats(-10, 10), st.integers(-2, 3)), min_size=1, max_size=12)


def _tensors(case) -> tuple[torch.Tensor, torch.Tensor]:
    scores, groups = zip(*case, strict=True)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(groups)


def test_golden():
    scores = torch.tensor([1.0, 0.0, 5.0, 1.0], dtype=torch.float64)
    # group 7: mean 2/3, deviations 1/3, -2/3, 1/3, sample variance (6/9)/2 = 1/3; group 9 is alone and keeps its score
    std = math.sqrt(1 / 3) + EPSILON
    expected = [1 / 3 / std, -2 / 3 / std, 5 / (1 + EPSILON), 1 / 3 / std]
    assert normalise_by_group(scores, torch.tensor([7, 7, 9, 7])).tolist() == pytest.approx(expected, abs=1e-14)


@given(cases)
def test_equals_the_definition_written_as_a_loop(case):
    scores, groups = _tensors(case)
    expected = torch.tensor(group_normalised(scores.tolist(), groups.tolist(), EPSILON), dtype=torch.float64)
    # the division by a std + 1e-6 near 0 magnifies rounding of the mean by up to 1e6
    assert torch.allclose(normalise_by_group(scores, groups), expected, rtol=1e-9, atol=1e-8)


@given(cases, st.randoms())
def test_the_order_of_the_responses_does_not_matter(case, random):
    scores, groups = _tensors(case)
    order = list(range(len(scores)))
    random.shuffle(order)
    shuffled = normalise_by_group(scores[order], groups[order])
    assert torch.allclose(shuffled, normalise_by_group(scores, groups)[order], rtol=1e-9, atol=1e-8)


def test_identical_rewards_give_zero():
    assert not normalise_by_group(torch.ones(4), torch.zeros(4, dtype=torch.int64)).any()


def test_groups_do_not_touch_each_other():
    scores, groups = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0, 0, 1, 1])
    changed = normalise_by_group(torch.tensor([1.0, 0.0, 100.0, -7.0]), groups)
    assert torch.equal(changed[:2], normalise_by_group(scores, groups)[:2])


def test_matches_verls_grpo():
    pytest.importorskip("verl")
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    scores, groups = torch.randn(60, dtype=torch.float64), torch.arange(60) // 5
    host, _ = compute_grpo_outcome_advantage(scores[:, None].clone(), torch.ones(60, 1), groups.numpy())
    assert torch.allclose(normalise_by_group(scores, groups), host[:, 0], rtol=0, atol=1e-12)
