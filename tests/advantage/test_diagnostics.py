import math

import mode_oracles
import pytest
import torch
from batches import log_ratios_and_masks
from hypothesis import given

from frpo_verl.advantage import diagnose
from frpo_verl.checks import InvalidInput


def test_golden():
    # Response 1: two tokens, c = 1 and 3; response 2: one token, c = 2, and a masked slot. Of before (4, 4, 1) the
    # mean is 3 and the variance 2; of c (1, 3, 2) the mean is 2 and the variance 2/3. Only the last changes sign.
    before = torch.tensor([[4.0, 4.0], [1.0, math.nan]])
    after = torch.tensor([[3.0, 1.0], [-1.0, math.nan]])
    found = diagnose(before, after, torch.tensor([[1, 1], [1, 0]]))
    assert found.variance_share == pytest.approx((2 / 3) / (2 + 2 / 3), abs=1e-12)
    assert found.sign_flips == pytest.approx(1 / 3, abs=1e-12)
    assert found.quantiles == pytest.approx([1.1, 2.0, 2.9], abs=1e-6)
    # the first tokens start both responses, the second token of the first is at 1/2
    assert found.profile == [1.5, 0, 0, 0, 0, 3.0, 0, 0, 0, 0]


@given(log_ratios_and_masks())
def test_loop_from_the_definition(batch):
    before, mask = batch
    # products of denormal numbers are 0 in floating point, whatever their signs
    before = before.round(decimals=3)
    after = before - before.flip(0) * 0.3 + 0.1
    found = diagnose(before, after, mask)
    expected = mode_oracles.diagnose(before.tolist(), after.tolist(), mask.long().tolist())
    # values up to 20; sums in float64
    assert found.sign_flips == pytest.approx(expected["sign_flips"], abs=1e-12)
    assert found.quantiles == pytest.approx(expected["quantiles"], abs=1e-10)
    assert found.profile == pytest.approx(expected["profile"], abs=1e-10)
    assert found.variance_share == pytest.approx(expected["variance_share"], abs=1e-9)


def test_nothing_taken_off_is_nothing():
    same = torch.randn(3, 4)
    found = diagnose(same, same, torch.ones(3, 4))
    assert (found.variance_share, found.sign_flips) == (0.0, 0.0)
    assert not any([*found.quantiles, *found.profile])


def test_equal_amounts_have_no_variance_whatever_the_rounding():
    before = torch.zeros(50, 7, dtype=torch.float64)
    assert diagnose(before, before - 0.1, torch.ones(50, 7)).variance_share == 0.0


def test_no_valid_token():
    found = diagnose(torch.ones(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))
    assert (found.variance_share, found.sign_flips) == (0.0, 0.0)
    assert not any([*found.quantiles, *found.profile])


def test_padding_rows_and_columns_change_nothing():
    before, after, mask = torch.randn(4, 6), torch.randn(4, 6), torch.rand(4, 6) > 0.3
    padded = [torch.nn.functional.pad(part.float(), (3, 2, 0, 2)) for part in (before, after, mask)]
    for one, other in zip(diagnose(*padded), diagnose(before, after, mask), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_quantiles_of_a_large_batch_come_from_an_even_sample():
    # c rises over the batch: an even sample has the quantiles of the whole
    rising = torch.arange(3 * 2**17, dtype=torch.float64).view(3, -1) / (3 * 2**17)
    found = diagnose(torch.zeros_like(rising), -rising, torch.ones_like(rising))
    assert found.quantiles == pytest.approx([0.05, 0.5, 0.95], abs=1e-3)


def test_a_valid_token_that_is_not_finite_is_refused():
    with pytest.raises(InvalidInput):
        diagnose(torch.tensor([[1.0, math.nan]]), torch.zeros(1, 2), torch.ones(1, 2))
