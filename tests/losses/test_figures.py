"""The figures by their formulas, token by token, and the rows of the table."""

import math
from types import SimpleNamespace

import loss_oracles
import pytest
import torch

from frpo_verl.losses import LOSSES, region

LOW, HIGH = 0.1, 0.25
CONFIG = SimpleNamespace(clip_ratio=9.0, clip_ratio_low=LOW, clip_ratio_high=HIGH)


@pytest.mark.parametrize("name", LOSSES)
def test_figures_are_those_of_the_formulas(name):
    old, new = torch.rand(2, 6, 9, dtype=torch.float64).clamp(min=1e-3).log()
    advantages = torch.randn(6, 9, dtype=torch.float64)
    mask = torch.ones(6, 9, dtype=torch.bool)
    found = LOSSES[name].figures(old, new, advantages, mask, CONFIG)
    numbers = {**found.means, **found.largest}
    expected: dict[str, list[float]] = {key: [] for key in numbers}
    for o, n, a in zip(*(tensor.flatten().tolist() for tensor in (old, new, advantages)), strict=True):
        distance = abs(math.exp(n) - math.exp(o))
        weight = getattr(loss_oracles, f"{name}_weight")(o, n, a, LOW, HIGH)
        expected["drpo/distance/token_mean"].append(distance)
        expected["drpo/distance/max"].append(distance)
        expected["drpo/outside_share"].append(float(distance > loss_oracles.width(a, LOW, HIGH)))
        expected["drpo/weight_change/token_mean"].append(abs(weight - 1))
        expected["drpo/reversed_share"].append(float(weight < 0))
        expected["drpo/ratio/max"].append(math.exp(n - o))
    for key, values in expected.items():
        assert numbers[key].flatten().tolist() == pytest.approx(values, rel=1e-10, abs=1e-12), key
        # so that they tell something
        assert len(set(values)) > 1


@pytest.mark.parametrize("name", LOSSES)
def test_the_row_of_a_loss_is_the_loss_with_the_configured_widths(name):
    old, new = torch.rand(2, 6, 9, dtype=torch.float64).clamp(min=1e-3).log()
    advantages = torch.randn(6, 9, dtype=torch.float64)
    found = LOSSES[name].per_token(old, new, advantages, torch.ones(6, 9, dtype=torch.bool), CONFIG)
    rows = zip(*(tensor.flatten().tolist() for tensor in (old, new, advantages)), strict=True)
    expected = [getattr(loss_oracles, name)(*row, LOW, HIGH) for row in rows]
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", LOSSES)
def test_verl_reduces_a_figure_as_its_place_says(name):
    # over mini-batches verl goes by the name
    found = LOSSES[name].figures(*torch.zeros(3, 1, 1), torch.ones(1, 1), CONFIG)
    assert all("max" in key for key in found.largest)
    assert not any("max" in key or "min" in key for key in found.means)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 0.3, (0.1, 0.3)), (None, 0.3, (0.2, 0.3)), (0.1, None, (0.1, 0.2))]
)
def test_widths_are_read_as_verls_dppo_reads_them(low, high, expected):
    assert region(SimpleNamespace(clip_ratio=0.2, clip_ratio_low=low, clip_ratio_high=high)) == expected
