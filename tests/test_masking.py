import math

import torch

from frpo_verl.masking import masked_mean, zero_where_masked

NAN, INF = math.nan, math.inf
VALUES = torch.tensor([[1.0, NAN, 3.0], [INF, 8.0, -INF]], dtype=torch.float64)
MASK = torch.tensor([[True, False, True], [False, True, False]])


def test_masked_slots_become_zero_whatever_they_held():
    assert zero_where_masked(VALUES, MASK).tolist() == [[1.0, 0.0, 3.0], [0.0, 8.0, 0.0]]


def test_the_mean_counts_valid_slots_only():
    # (1 + 3 + 8) / 3
    assert masked_mean(VALUES, MASK).item() == 4.0


def test_no_valid_slot_gives_zero():
    nothing = torch.zeros_like(MASK)
    assert masked_mean(VALUES, nothing).item() == 0.0


def test_the_mean_of_many_blocks_is_summed_in_double_precision():
    values, mask = torch.full((3000, 400), 0.1), torch.rand(3000, 400) > 0.5
    assert masked_mean(values, mask).item() == torch.tensor(0.1).item()


def test_a_nan_in_a_masked_slot_leaves_the_gradient_finite():
    values = VALUES.clone().requires_grad_()
    masked_mean(values, MASK).backward()
    assert values.grad.tolist() == [[1 / 3, 0.0, 1 / 3], [0.0, 1 / 3, 0.0]]
