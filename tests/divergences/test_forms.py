import math

import pytest
import torch

from frpo_verl.divergences import BY_NAME, CATALOGUE, REVERSE_KL, appendix_e, token_clip

pytestmark = pytest.mark.filterwarnings("error")

DELTA = torch.linspace(-6, 6, 49, dtype=torch.float64)


def test_appendix_e_puts_f_in_the_place_of_the_local_part(generator):
    form = appendix_e(generator)
    assert torch.equal(form.local(DELTA), generator.future(DELTA))
    assert torch.equal(form.future(DELTA), generator.future(DELTA))
    assert form.name == f"{generator.name}, appendix E"
    assert form.local_range == generator.future_range
    assert str(form.curvature) == str(generator.gradient_at_zero)  # nan where the generator does not say


def test_appendix_e_and_the_theorem_agree_for_reverse_kl_only():
    same = [g.name for g in CATALOGUE if torch.equal(appendix_e(g).local(DELTA), g.local(DELTA))]
    assert same == [REVERSE_KL.name]


def test_the_token_clip_holds_both_parts_at_the_limit(generator):
    clipped = token_clip(generator, 2.0)
    inside = DELTA.abs() <= 2
    for part in ("local", "future"):
        own, original = getattr(clipped, part), getattr(generator, part)
        assert torch.equal(own(DELTA[inside]), original(DELTA[inside]))
        assert torch.equal(own(torch.tensor([9.0, math.inf])), original(torch.tensor([2.0, 2.0])))
        assert torch.equal(own(torch.tensor([-9.0, -1e30])), original(torch.tensor([-2.0, -2.0])))


def test_the_token_clip_makes_everything_bounded(generator):
    clipped = token_clip(generator, 3.0)
    assert all(map(math.isfinite, clipped.local_range))
    values = clipped.local(DELTA), clipped.future(DELTA)
    for part, (low, high) in zip(values, (clipped.local_range, clipped.future_range), strict=True):
        # the ends are exact; a minimum in between is found on a grid of 4097 points
        assert part.min() >= low - 1e-5
        assert part.max() <= high + 1e-9


def test_the_clip_of_the_peers():
    clipped = token_clip(BY_NAME["kl"], 10.0)
    assert clipped.future(torch.tensor([-90.0, 3.0, 90.0])).tolist() == [-10.0, 3.0, 10.0]


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_that_clips_everything_is_refused(limit):
    with pytest.raises(
        ValueError, match="token clip .*: the limit must be positive and finite, in nats, for instance 10"
    ):
        token_clip(REVERSE_KL, limit)
