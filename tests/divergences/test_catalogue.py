"""Every divergence: its two functions, its range of validity and the facts that a user chooses by."""

import math
import random

import pytest
import torch
from divergence_oracles import TEXTBOOK, reference_future, reference_local, textbook_f_divergence
from textbook import entry_of, f_of, key_of

from frpo_verl.divergences import BY_NAME, CATALOGUE, REVERSE_KL, alpha

pytestmark = pytest.mark.filterwarnings("error")

GRID = [0.0, 1e-12, 1e-6, 1e-3, 0.1, 0.5, 1.0, 2.5, 7.0, 20.0, 39.0]
GRID = sorted({sign * delta for delta in GRID for sign in (-1, 1)})
FAR = torch.tensor([-80.0, -50.0, -10.0, 10.0, 50.0, 80.0])
LARGEST = torch.tensor([-torch.finfo(torch.float32).max, -1e4, 1e4, torch.finfo(torch.float32).max])


def distributions(seed: int, size: int = 6) -> tuple[list[float], list[float]]:
    """Two distributions with every probability over 0.01."""
    generator = random.Random(seed)
    rows = [[generator.uniform(0.05, 1.0) for _ in range(size)] for _ in range(2)]
    return [value / sum(rows[0]) for value in rows[0]], [value / sum(rows[1]) for value in rows[1]]


def test_every_textbook_entry_has_a_generator_and_every_generator_an_entry():
    assert {key_of(generator) for generator in CATALOGUE} == set(TEXTBOOK)


@pytest.mark.parametrize("part", ["local", "future"])
@pytest.mark.parametrize(("dtype", "precision"), [(torch.float64, 1e-15), (torch.float32, 6e-8)])
def test_equals_the_formula_in_sixty_digits_to_rounding_of_delta(generator, part, dtype, precision):
    if key_of(generator) is None:
        pytest.skip("no textbook formula of it")
    reference = reference_local if part == "local" else reference_future
    key = key_of(generator)
    growth = max(1.0, abs(key[1])) if isinstance(key, tuple) else 1.0
    for delta in torch.tensor(GRID, dtype=dtype):
        if growth * abs(delta) > 80:
            continue  # beyond float32: there the value is held
        exact = float(reference(key_of(generator), delta.item()))
        value = getattr(generator, part)(delta).item()
        # 32 units in the last place of the larger of f and δ: expm1(−αδ) rounds αδ, and δ cancels against expm1(δ)
        scale = max(abs(exact) * max(1.0, abs(delta.item())), abs(delta.item()) if abs(delta) < 1 else 0.0)
        assert abs(value - exact) <= 32 * precision * scale


def test_local_is_f_plus_its_slope_in_delta(generator):
    # u = exp(−δ), so f'(u)·u = −df/dδ; the constant makes local(0) = 0
    delta = torch.linspace(-4, 4, 41, dtype=torch.float64)
    delta = torch.cat([delta[delta.abs() > 0.1]]).requires_grad_()
    future = generator.future(delta)
    (slope,) = torch.autograd.grad(future.sum(), delta)
    difference = generator.local(delta.detach()) - (future + slope).detach()
    # u² and u³ reach e^8 and e^12 at δ = −4: relative rounding of those
    assert torch.allclose(difference, difference[-1].expand_as(difference), rtol=0, atol=1e-13 * slope.abs().max())


def test_equal_policies_cost_nothing(generator):
    zero = torch.zeros(3)
    assert generator.local(zero).abs().tolist() == [0.0] * 3
    assert generator.future(zero).abs().tolist() == [0.0] * 3


@pytest.mark.parametrize("part", ["local", "future"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_every_finite_log_ratio_gives_a_finite_value(generator, part, dtype):
    values = torch.cat([torch.tensor(GRID), torch.linspace(-80, 80, 641), FAR, LARGEST.clamp(-6e4, 6e4)])
    values = torch.cat([values.to(dtype), LARGEST.to(dtype)[torch.isfinite(LARGEST.to(dtype))]])
    assert torch.isfinite(getattr(generator, part)(values)).all()


@pytest.mark.parametrize("part", ["local", "future"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single_precision(generator, part, dtype):
    if generator in (REVERSE_KL, BY_NAME["tv"]):
        pytest.skip("nothing is computed: δ itself, or ±½")
    delta = torch.tensor(GRID).to(dtype)
    half = getattr(generator, part)(delta)
    assert torch.equal(half.float(), getattr(generator, part)(delta.float()))


def test_the_dictionary_to_the_textbook(generator):
    # E_π[f(π_ref/π)] is D_f(π_ref‖π), and D(π‖π_ref) of the adjoint t·f(1/t)
    policy, reference = distributions(seed=3)
    delta = [math.log(p) - math.log(q) for p, q in zip(policy, reference, strict=True)]
    futures = generator.future(torch.tensor(delta, dtype=torch.float64)).tolist()
    expected = sum(p * value for p, value in zip(policy, futures, strict=True))
    f = f_of(generator)
    assert expected == pytest.approx(textbook_f_divergence(f, reference, policy), abs=1e-13)
    assert expected == pytest.approx(textbook_f_divergence(lambda t: t * f(1 / t), policy, reference), abs=1e-13)
    assert expected > 1e-3
    if entry := entry_of(generator):
        assert expected == pytest.approx(entry.exact(policy, reference), abs=1e-13)


def test_ranges_hold_and_are_reached(generator):
    # far enough that every limit is within a percent, or a large number
    delta = torch.cat([torch.linspace(-39, 80, 2001, dtype=torch.float64), -torch.logspace(-5, 0, 50).double()])
    for part, (low, high) in (("local", generator.local_range), ("future", generator.future_range)):
        values = getattr(generator, part)(delta)
        assert values.min() >= low - 1e-12
        assert values.max() <= high + 1e-12
        if key_of(generator) is None:
            continue  # from f alone, bounds are known and not more
        for end, reached in ((low, values.min().item()), (high, values.max().item())):
            assert abs(reached) > 15 if math.isinf(end) else reached == pytest.approx(end, rel=0.01, abs=1e-3)


def test_one_sided_follows_from_the_range():
    signed = {g.name for g in CATALOGUE if not g.one_sided}
    assert signed == {"reverse KL (k1)", "forward KL"}


def test_gradient_at_zero_is_the_slope_of_the_future_part(generator):
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(generator.future(zero), zero)
    if math.isnan(generator.gradient_at_zero):
        pytest.skip("the generator does not say")
    assert slope.item() == pytest.approx(generator.gradient_at_zero, abs=1e-14)


def test_curvature_is_the_slope_of_the_local_part_at_zero(generator):
    if math.isnan(generator.curvature):
        pytest.skip("the generator does not say")
    step = torch.tensor([-1e-5, 1e-5], dtype=torch.float64)
    below, above = generator.local(step).tolist()
    if math.isinf(generator.curvature):
        assert above - below == 1.0
    else:
        # a central difference with step h errs by h², here 1e-10 times a third derivative
        assert (above - below) / 2e-5 == pytest.approx(generator.curvature, abs=1e-8)


def test_near_the_reference_all_are_one_up_to_the_curvature(generator):
    if not math.isfinite(generator.curvature):
        pytest.skip("a kink has no curvature, and some generators do not say")
    policy, reference = distributions(seed=5)
    near = [0.999 * q + 0.001 * p for p, q in zip(policy, reference, strict=True)]
    delta = torch.tensor([math.log(p / q) for p, q in zip(near, reference, strict=True)], dtype=torch.float64)
    divergence = (torch.tensor(near, dtype=torch.float64) * generator.future(delta)).sum()
    square = (torch.tensor(near, dtype=torch.float64) * delta.square()).sum().item()
    # the next term of the series is of order δ ≈ 1e-3
    assert divergence.item() == pytest.approx(square * generator.curvature / 2, abs=5e-3 * square)


def test_signed_and_one_sided_forms_differ_by_a_line_in_u():
    delta = torch.linspace(-3, 3, 13, dtype=torch.float64)
    line = torch.exp(-delta) - 1
    for signed, one_sided, slope in (("k1", "k3", 1.0), ("forward_kl", "forward_kl_k3", -1.0)):
        assert torch.equal(BY_NAME[signed].local(delta), BY_NAME[one_sided].local(delta))
        difference = BY_NAME[one_sided].future(delta) - BY_NAME[signed].future(delta)
        assert torch.allclose(difference, slope * line, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("order", "name"), [(0, "k3"), (1, "forward_kl_k3")])
@pytest.mark.parametrize("step", [0.0, 1e-9, -1e-9])
def test_the_limits_of_the_alpha_family_are_the_two_kls(order, name, step):
    delta = torch.linspace(-5, 5, 21, dtype=torch.float64)
    near, limit = alpha(order + step), BY_NAME[name]
    # u reaches e^5 = 148, and the distance to the limit is of order step·δ²·u
    assert torch.allclose(near.future(delta), limit.future(delta), rtol=0, atol=4e3 * abs(step) + 1e-13)
    assert torch.allclose(near.local(delta), limit.local(delta), rtol=0, atol=4e3 * abs(step) + 1e-13)


@pytest.mark.parametrize(("order", "name", "factor"), [(0.5, "hellinger", 2), (2, "pearson", 0.5), (-1, "neyman", 0.5)])
def test_members_of_the_alpha_family(order, name, factor):
    delta = torch.linspace(-5, 5, 21, dtype=torch.float64)
    for part in ("local", "future"):
        member = factor * getattr(BY_NAME[name], part)(delta)
        assert torch.allclose(getattr(alpha(order), part)(delta), member, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("order", [math.nan, math.inf, 17, -16.5])
def test_an_order_beyond_float32_is_refused(order):
    with pytest.raises(
        ValueError, match="the order .* of the α family must lie between -16 and 16, for instance alpha:0.5"
    ):
        alpha(order)


def test_total_variation_takes_the_subgradient_zero_at_the_kink():
    assert BY_NAME["tv"].local(torch.tensor([-1e-30, 0.0, 1e-30])).tolist() == [-0.5, 0.0, 0.5]
