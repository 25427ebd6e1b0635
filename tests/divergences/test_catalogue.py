import pytest
import torch

from frpo_verl.divergences import BY_NAME, REVERSE_KL, UnknownDivergence, by_name


def test_verls_default_name_is_reverse_kl():
    assert by_name("kl") is REVERSE_KL
    assert by_name("k1") is REVERSE_KL


def test_the_future_part_is_the_generator_minus_log_u():
    delta = torch.linspace(-3, 3, 7, dtype=torch.float64)
    u = torch.exp(-delta)
    assert torch.allclose(REVERSE_KL.future(delta), -torch.log(u), rtol=0, atol=1e-14)


def test_the_local_part_is_f_minus_f_prime_u_up_to_a_constant():
    delta = torch.linspace(-3, 3, 7, dtype=torch.float64)
    u = torch.exp(-delta).requires_grad_()
    f = -torch.log(u)
    (f_prime,) = torch.autograd.grad(f.sum(), u)
    difference = REVERSE_KL.local(delta) - (f - f_prime * u)
    assert torch.allclose(difference, difference[:1].expand(7), rtol=0, atol=1e-14)


def test_an_unknown_name_shows_the_nearest_and_all_names():
    with pytest.raises(UnknownDivergence, match="unknown divergence 'kll': did you mean 'kl'.*known are k1, kl"):
        by_name("kll")


def test_a_name_like_no_other_shows_all_names():
    with pytest.raises(UnknownDivergence, match="unknown divergence 'wasserstein': known are"):
        by_name("wasserstein")


@pytest.mark.parametrize("generator", set(BY_NAME.values()), ids=lambda generator: generator.name)
def test_equal_policies_cost_nothing(generator):
    assert generator.future(torch.zeros(1)).item() == 0.0
