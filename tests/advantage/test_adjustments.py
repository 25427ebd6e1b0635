import itertools
import math

import pytest
import torch
from batches import log_ratios_and_masks
from hypothesis import given
from hypothesis import strategies as st
from regulariser_oracles import divide_by_length as divide_by_length_oracle
from regulariser_oracles import leave_one_out_group_mean, length_baseline

from frpo_verl.advantage import centre_in_group, divide_by_length, minus_length_baseline
from frpo_verl.divergences import BY_NAME, Generator

pytestmark = pytest.mark.filterwarnings("error")

SQUARE = Generator("square", local=torch.zeros_like, future=torch.square)


def rows(values: list[list[float]], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(like.shape)


def test_goldens():
    reg = torch.tensor([[5.0, 3.0, 2.0], [4.0, 9.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    group = torch.tensor([3, 3])
    # each response's mean is the other's: 4 and (5 + 3 + 2)/3
    expected = [[1.0, -1.0, -2.0], [pytest.approx(4 - 10 / 3), 0.0, 0.0]]
    assert centre_in_group(reg, mask, group).tolist() == expected
    assert divide_by_length(reg, mask).tolist() == [pytest.approx([5 / 3, 1, 2 / 3]), [4.0, 0.0, 0.0]]
    # mean of the squares 1, 4, 9 and 2 is 4; two, one and no tokens to come
    delta = torch.tensor([[1.0, 2.0, 3.0], [math.sqrt(2), 7.0, 7.0]], dtype=torch.float64)
    result = minus_length_baseline(reg, delta, mask, SQUARE)
    assert result.tolist() == [pytest.approx([5 - 8, 3 - 4, 2]), [4.0, 0.0, 0.0]]


@given(log_ratios_and_masks(), st.randoms())
def test_centring_equals_the_definition_written_as_a_loop(case, random):
    reg, mask = case
    groups = [random.randrange(2) for _ in range(len(reg))]
    means = leave_one_out_group_mean(reg.tolist(), mask.tolist(), groups)
    expected = torch.where(mask, reg - torch.tensor(means, dtype=torch.float64)[:, None], 0.0)
    assert torch.allclose(centre_in_group(reg, mask, torch.tensor(groups)), expected, rtol=0, atol=1e-12)


def test_the_other_outputs_of_a_rollout_are_not_others():
    reg = torch.tensor([[5.0, 3.0], [1.0, 2.0], [4.0, 9.0], [7.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    group, rollout = torch.tensor([0, 0, 0, 1]), torch.tensor([7, 7, 5, 6])
    # of the first two the other is the third alone; of the third it is both; the fourth has none
    expected = [[1.0, -1.0], [-3.0, -2.0], [4 - 11 / 4, 0.0], [7.0, 0.0]]
    assert centre_in_group(reg, mask, group, rollout).tolist() == expected
    alone = centre_in_group(reg, mask, group, torch.arange(4))
    assert torch.equal(alone, centre_in_group(reg, mask, group)) and alone.tolist() != expected


def test_centring_is_a_baseline_for_rollouts_of_two_outputs():
    # a rollout: an output that is 0 or 1, then one that depends on it; a row each, one token long
    first, second = (0.3, 0.7), ((0.2, 0.8), (0.9, 0.1))
    paths = [(a, b, first[a] * second[a][b]) for a in (0, 1) for b in (0, 1)]
    value = {(a, b): (1.0 + 2 * a, 5.0 * a - 3.0 * b + a * b) for a, b, _ in paths}

    def gradient(centred: bool, by_rollout: bool = True) -> torch.Tensor:
        total = torch.zeros(6, dtype=torch.float64)
        for (a, b, p), (c, d, q) in itertools.product(paths, repeat=2):
            reg = torch.tensor([*value[a, b], *value[c, d]], dtype=torch.float64)[:, None]
            rollout = torch.tensor([0, 0, 1, 1]) if by_rollout else None
            if centred:
                reg = centre_in_group(reg, torch.ones(4, 1).bool(), torch.zeros(4).long(), rollout)
            for row, (n, x, probabilities) in enumerate(
                [(0, a, first), (2 + 2 * a, b, second[a]), (0, c, first), (2 + 2 * c, d, second[c])]
            ):
                for v in (0, 1):
                    total[n + v] += p * q * reg[row, 0] * ((x == v) - probabilities[v])
        return total

    exact = gradient(centred=False)
    assert torch.allclose(gradient(centred=True), exact, rtol=0, atol=1e-14)
    assert (gradient(centred=True, by_rollout=False) - exact).norm() / exact.norm() > 0.05


@given(log_ratios_and_masks())
def test_length_normalisation_equals_the_definition_written_as_a_loop(case):
    reg, mask = case
    expected = rows(divide_by_length_oracle(reg.tolist(), mask.tolist()), reg)
    assert torch.allclose(divide_by_length(reg, mask), expected, rtol=0, atol=1e-13)


@given(log_ratios_and_masks())
def test_the_length_baseline_equals_the_definition_written_as_a_loop(case):
    delta, mask = case
    if not mask.any():
        return
    reg = delta.flip(-1)
    baseline = rows(length_baseline(delta.square().tolist(), mask.tolist()), delta)
    expected = torch.where(mask, reg - baseline, 0.0)
    # up to 11 tokens to come times a mean of up to 400
    assert torch.allclose(minus_length_baseline(reg, delta, mask, SQUARE), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_masked_slots_may_hold_anything(poison):
    reg, delta = torch.randn(2, 4), torch.randn(2, 4)
    mask = torch.tensor([[True, False, True, False], [False, True, True, True]])
    spoilt, spoilt_delta = reg.where(mask, poison), delta.where(mask, poison)
    group = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(centre_in_group(spoilt, mask, group), centre_in_group(reg, mask, group))
    assert torch.equal(divide_by_length(spoilt, mask), divide_by_length(reg, mask))
    k3 = BY_NAME["k3"]
    result = minus_length_baseline(spoilt, spoilt_delta, mask, k3)
    assert torch.equal(result, minus_length_baseline(reg, delta, mask, k3))


def test_a_batch_without_a_valid_token_gives_zeros():
    reg, mask = torch.randn(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    assert not centre_in_group(reg, mask, torch.tensor([0, 0])).any()
    assert not divide_by_length(reg, mask).any()
    assert not minus_length_baseline(reg, reg, mask, SQUARE).any()


def test_a_response_without_others_keeps_its_divergence():
    reg, mask = torch.randn(2, 3), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(centre_in_group(reg, mask, torch.tensor([4, 5])), reg)
