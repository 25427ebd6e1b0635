"""The study of δ: what it says of itself holds, and the figure is drawn."""

import math
import struct
import subprocess
import sys

import pytest
import torch

from frpo_verl.losses import study


def test_the_behaviour_is_a_policy_and_the_first_state_is_at_it():
    assert torch.tensor(study.BEHAVIOUR, dtype=torch.float64).sum(-1).tolist() == pytest.approx([1.0] * 3)
    # before the first update nothing has moved but the last bit of a logarithm
    assert study.trajectory(0.2)[0] == pytest.approx((0.0,) * 6, abs=1e-15)


def test_without_a_regulariser_it_is_the_gradient_of_the_expected_reward_alone():
    mu, rewards = (torch.tensor(x, dtype=torch.float64) for x in (study.BEHAVIOUR, study.REWARDS))
    logits = mu.log()
    for _ in range(study.SHOWN[-1]):
        pi = torch.softmax(logits, -1)
        # d E r / d logit, in closed form; the mean over contexts
        logits = logits + study.LEARNING_RATE * pi * (rewards - (pi * rewards).sum(-1, keepdim=True)) / 3
    gained = ((torch.softmax(logits, -1) - mu) * rewards).sum(-1).mean().item()
    assert study.trajectory(math.inf)[-1].gained == pytest.approx(gained, rel=1e-10)


def test_a_wide_region_is_never_left_and_goes_where_the_surrogate_goes():
    plain = study.trajectory(math.inf)
    for delta in (2.5, 12.5):
        states = study.trajectory(delta)
        assert all(state.outside == state.reversed == 0 and state.change <= 1 / delta for state in states)
    # the released setting
    assert all(abs(state.distance - other.distance) < 0.012 for state, other in zip(states, plain, strict=True))


def test_a_narrower_region_holds_the_policy_nearer():
    final = [study.trajectory(delta)[-1].distance for delta in study.DELTAS]
    assert final == sorted(final) and final[0] < 0.1 < 0.5 < final[-1]


def test_every_delta_has_a_style_and_its_rows():
    assert set(study.STYLES) == set(study.DELTAS)
    assert len(study.table().splitlines()) == 2 + len(study.DELTAS) * len(study.SHOWN)


def test_the_command_prints_the_table_and_draws_the_figure(tmp_path):
    command = [sys.executable, "-P", "-m", "frpo_verl.losses.study", str(tmp_path / "drawn.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == study.table()
    assert struct.unpack(">II", (tmp_path / "drawn.png").read_bytes()[16:24]) == (1200, 460)
