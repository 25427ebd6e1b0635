"""The page's table, metrics and numbers are those of the code."""

from pathlib import Path
from types import SimpleNamespace

import torch

from frpo_verl.losses import LOSSES
from frpo_verl.losses.drpo import drpo_weight
from frpo_verl.losses.study import table

PAGE = (Path(__file__).parents[2] / "frpo_verl" / "losses" / "README.md").read_text()


def test_the_table_is_the_one_that_the_code_prints():
    assert table() in PAGE


def test_every_loss_and_every_metric_has_a_row():
    assert [name for name in LOSSES if f"\n| `{name}` |" not in PAGE] == []
    config = SimpleNamespace(clip_ratio=0.2, clip_ratio_low=None, clip_ratio_high=None)
    for loss in LOSSES.values():
        found = loss.figures(*torch.zeros(3, 1, 1), torch.ones(1, 1), config)
        names = {*found.means, *found.largest}
        assert {row.split("`")[1] for row in PAGE.splitlines() if row.startswith("| `actor/")} == {
            f"actor/{name}" for name in names
        }


def test_the_numbers_of_the_caveats():
    old, new = torch.tensor([[0.01]], dtype=torch.float64).log(), torch.tensor([[0.9]], dtype=torch.float64).log()
    ratio = torch.exp(new - old).item()
    weighed = ratio * drpo_weight(old, new, -torch.ones(1, 1).double(), 0.2, 0.2).item()
    assert f"weighs {ratio:.0f} without the\n  regulariser and {weighed:.1f} at" in PAGE
