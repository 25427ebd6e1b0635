import math

import mode_oracles
import pytest
import torch
from batches import log_ratios_and_masks, way  # noqa: F401
from hypothesis import HealthCheck, given, settings

from frpo_verl.advantage import diagnose, regularise_batch, sample_slots
from frpo_verl.advantage.diagnostics import Diagnostics
from frpo_verl.checks import InvalidInput
from frpo_verl.divergences import REVERSE_KL, Generator

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("way")]

# reg is δ itself: nothing of later tokens
LOCAL = Generator("local", local=lambda delta: delta, future=torch.zeros_like)


def of(outcome, delta, mask, beta=1.0, generator=LOCAL) -> Diagnostics:
    """The figures of a batch with log π_ref = −1."""
    outcome, delta = (values if torch.is_tensor(values) else torch.tensor(values) for values in (outcome, delta))
    mask = mask if torch.is_tensor(mask) else torch.tensor(mask)
    done = regularise_batch(outcome, delta - 1, torch.full_like(delta, -1.0), mask, beta, generator)
    return diagnose(done, outcome, mask, beta)


def test_golden():
    # Response 1: two tokens, reg = 1 and 3; response 2: one token, reg = 2, and a masked slot. Of Â (4, 4, 1) the mean
    # is 3 and the variance 2; of reg (1, 3, 2) the mean is 2 and the variance 2/3. Only the last changes sign.
    found = of([4.0, 1.0], [[1.0, 3.0], [2.0, math.nan]], [[1, 1], [1, 0]])
    assert found.variance_share == pytest.approx((2 / 3) / (2 + 2 / 3), abs=1e-12)
    assert found.sign_flips == pytest.approx(1 / 3, abs=1e-12)
    assert found.quantiles == pytest.approx([1.1, 2.0, 2.9], abs=1e-6)
    # the first tokens start both responses, the second token of the first is at 1/2
    assert found.profile == [1.5, 0, 0, 0, 0, 3.0, 0, 0, 0, 0]
    assert (found.mean, found.std) == (2.0, pytest.approx(math.sqrt(2 / 3), abs=1e-12))
    # log π = δ − 1: 0, 2 and 1
    assert found.entropy == -1.0


def test_the_divergence_is_told_by_token_and_by_response():
    # k1: Σ f = 4, 2 and, of the response without a valid token, none
    found = of([0.0] * 3, [[1.0, 3.0], [2.0, 9.0], [9.0, 9.0]], [[1, 1], [1, 0], [0, 0]], generator=REVERSE_KL)
    assert (found.divergence_per_token, found.divergence_per_response) == (2.0, 3.0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(log_ratios_and_masks())
def test_loop_from_the_definition(batch):
    delta, mask = batch
    # products of denormal numbers are 0 in floating point, whatever their signs
    delta = delta.round(decimals=3)
    outcome = delta.flip(0)[:, 0] * 0.3 + 0.1
    found = of(outcome, delta, mask, 0.5)
    before = outcome[:, None].expand(delta.shape)
    expected = mode_oracles.diagnose(before.tolist(), (before - 0.5 * delta).tolist(), mask.long().tolist())
    # values up to 20; sums in float64
    assert found.sign_flips == pytest.approx(expected["sign_flips"], abs=1e-12)
    assert [0.5 * value for value in found.quantiles] == pytest.approx(expected["quantiles"], abs=1e-10)
    assert [0.5 * value for value in found.profile] == pytest.approx(expected["profile"], abs=1e-10)
    assert found.variance_share == pytest.approx(expected["variance_share"], abs=1e-9)


def test_an_outcome_of_each_token_is_as_good():
    outcome, delta, mask = torch.randn(4).double(), torch.randn(4, 9).double(), torch.rand(4, 9) > 0.3
    spread = torch.where(mask, outcome[:, None], math.nan)
    for one, other in zip(of(spread, delta, mask), of(outcome, delta, mask), strict=True):
        assert one == pytest.approx(other, abs=1e-12)


def test_quantiles_of_the_term_itself_are_those_read_off_the_advantages():
    outcome, delta, mask = torch.randn(4).double(), torch.randn(4, 9).double(), torch.rand(4, 9) > 0.3
    done = regularise_batch(outcome, delta, torch.zeros_like(delta), mask, 0.5, LOCAL)
    reg = torch.where(mask, delta, 0.0)
    assert diagnose(done, outcome, mask, 0.5, reg).quantiles == pytest.approx(
        diagnose(done, outcome, mask, 0.5).quantiles, abs=1e-12
    )


# what is left of the mean square less the squared mean is below 0 for the first, above for the second
@pytest.mark.parametrize("amount", [0.1, 0.3])
def test_equal_amounts_have_no_variance_whatever_the_rounding(amount):
    found = of(torch.zeros(50).double(), torch.full((50, 7), amount).double(), torch.ones(50, 7))
    assert (found.variance_share, found.std) == (0.0, 0.0)


def test_no_valid_token():
    found = of(torch.ones(2), torch.ones(2, 3), torch.zeros(2, 3))
    assert not any([*found.quantiles, *found.profile, *found[:4], *found[6:]])


def test_padding_rows_and_columns_change_nothing():
    outcome, delta, mask = torch.randn(4), torch.randn(4, 6), torch.rand(4, 6) > 0.3
    wide = [torch.nn.functional.pad(part.float(), (3, 2, 0, 2)) for part in (delta, mask)]
    padded = of(torch.cat([outcome, torch.ones(2)]), *wide)
    for one, other in zip(padded, of(outcome, delta, mask), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_quantiles_of_a_large_batch_come_from_an_even_sample():
    # reg rises over the batch: an even sample has the quantiles of the whole
    rising = torch.arange(3 * 2**17, dtype=torch.float64).view(3, -1) / (3 * 2**17)
    found = of(torch.zeros(3).double(), rising, torch.ones_like(rising))
    assert found.quantiles == pytest.approx([0.05, 0.5, 0.95], abs=1e-3)


@pytest.mark.parametrize("extra", [-1, 0, 1, 65_535, 65_536])
def test_a_sample_has_at_most_65536_slots_and_all_of_a_batch_that_has_no_more(extra):
    slots = sample_slots(1, 65_536 + extra)
    assert len(slots) == min(65_536, 65_536 + extra)
    if extra <= 0:
        assert torch.equal(slots, torch.arange(65_536 + extra))
    assert slots.min() >= 0
    assert slots.max() < 65_536 + extra


@pytest.mark.parametrize("length", [1, 2, 64, 128, 8192])
def test_a_sample_meets_every_row_and_every_place_of_a_row_alike(length):
    rows = 2**23 // length
    slots = sample_slots(rows, length)
    assert len(slots) == 65_536
    for index, size in ((slots // length, rows), (slots % length, length)):
        eighths = torch.bincount(index * 8 // size, minlength=8) if size >= 8 else torch.bincount(index)
        assert eighths.max() <= 1.02 * eighths.min()


def test_a_coefficient_of_nothing_is_refused():
    with pytest.raises(InvalidInput, match="beta is 0: nothing was subtracted"):
        of(torch.zeros(1), torch.zeros(1, 2), torch.ones(1, 2), beta=0.0)
