import math

import pytest
import torch

from frpo_verl.checks import InvalidInput
from frpo_verl.divergences import BY_NAME, from_f

pytestmark = pytest.mark.filterwarnings("error")

DELTA = torch.linspace(-3, 3, 25, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("kl", lambda u: -torch.log(u)),
        ("k3", lambda u: -torch.log(u) + u - 1),
        ("forward_kl", lambda u: u * torch.log(u)),
        ("js", lambda u: (u * torch.log(u) - (1 + u) * torch.log((1 + u) / 2)) / 2),
        ("neyman", lambda u: (u - 1) ** 2 / u),
    ],
)
def test_f_alone_gives_both_parts(name, f):
    made = from_f("made", f)
    assert torch.allclose(made.local(DELTA), BY_NAME[name].local(DELTA), rtol=1e-13, atol=1e-13)
    assert torch.allclose(made.future(DELTA), BY_NAME[name].future(DELTA), rtol=1e-13, atol=1e-13)
    assert made.gradient_at_zero == pytest.approx(BY_NAME[name].gradient_at_zero, abs=1e-15)


def test_its_local_part_works_where_gradients_are_off_and_leaves_none_behind():
    made = from_f("made", lambda u: u * torch.log(u))
    with torch.no_grad():
        local = made.local(DELTA)
    assert not local.requires_grad
    assert torch.allclose(local, 1 - torch.exp(-DELTA), rtol=0, atol=1e-13)


def test_golden():
    made = from_f("made", lambda u: (u - 1) ** 2)
    # at u = 2: f = 1, f'·u = 4, local = −3; f'(1) = 0
    u_is_two = torch.tensor([-math.log(2)], dtype=torch.float64)
    assert made.future(u_is_two).item() == pytest.approx(1.0, abs=1e-14)
    assert made.local(u_is_two).item() == pytest.approx(-3.0, abs=1e-14)


def test_an_f_that_charges_equal_policies_is_refused():
    with pytest.raises(InvalidInput, match=r"divergence 'wrong': f\(1\) is 1, and must be 0; subtract it from f"):
        from_f("wrong", lambda u: u * u)


def test_an_f_that_rewards_divergence_is_refused():
    with pytest.raises(InvalidInput, match="divergence 'upside down': f″.1. is -2, so f is not convex"):
        from_f("upside down", lambda u: -((u - 1) ** 2))
