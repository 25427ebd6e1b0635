"""What a divergence is made of.

FRPO regularises with E_{a~π_θ} Σ_t f(u_t), where f is convex, f(1) = 0, and u_t = π_ref(a_t|s_t) / π_θ(a_t|s_t) =
exp(−δ_t) (arXiv 2601.10201, eq. 4.1). Its policy gradient weighs token i by

    reg_i = [ f(u_i) − f'(u_i)·u_i ]  +  Σ_{j>i} f(u_j)                                          (Theorem 4.1)
             local part                   future part

so a generator is exactly the two functions of δ that stand there. Since f'(u)·u = −d f/dδ, the local part is
f + df/dδ: one function determines the other, and `from_f` makes both out of f.

**The dictionary.** A textbook writes D_φ(P‖Q) = E_Q[φ(P/Q)]. Here the expectation is under the policy, so Q = π_θ,
P = π_ref and φ = f:

    E_{π_θ}[f(π_ref/π_θ)] = D_f(π_ref‖π_θ) = D_{f°}(π_θ‖π_ref)   with   f°(t) = t·f(1/t)

Hence f = −log u is the reverse KL, KL(π_θ‖π_ref), and f = u log u the forward KL, KL(π_ref‖π_θ).

**Constants and lines.** f and f + c·(u − 1) are the same divergence, since E_{π_θ}[u − 1] = 0: the local part moves by
a constant, whose expected policy gradient is zero, and the future part by a control variate. That is all that
separates k1 from k3. Local parts are kept with local(0) = 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from frpo_verl.checks import InvalidInput


class Generator(NamedTuple):
    """One f-divergence, as the two functions of δ = log π_θ − log π_ref that Theorem 4.1 needs.

    Both map a tensor of any shape to one of the same shape, elementwise, in nats, and are 0 at δ = 0.

    Attributes:
        name: the name that figures and logs show.
        local: f(u) − f'(u)·u at u = exp(−δ), up to the constant that makes it 0 at δ = 0.
        future: f(u) at u = exp(−δ).
        formula: f(u), for people.
        aliases: the names that configurations use.
        local_range: infimum and supremum of the local part over all δ.
        future_range: infimum and supremum of the future part over all δ.
        gradient_at_zero: d future/dδ at δ = 0, which is −f'(1): what one token's penalty feels at the reference.
        curvature: f''(1), which is d local/dδ at δ = 0. Close to the reference every f-divergence is f''(1) times
            δ²/2, so β·f''(1) is what compares the strengths of two of them.
    """

    name: str
    local: Callable[[Tensor], Tensor]
    future: Callable[[Tensor], Tensor]
    formula: str = ""
    aliases: tuple[str, ...] = ()
    local_range: tuple[float, float] = (-math.inf, math.inf)
    future_range: tuple[float, float] = (-math.inf, math.inf)
    gradient_at_zero: float = math.nan
    curvature: float = math.nan

    @property
    def one_sided(self) -> bool:
        """Whether a single token's f is never negative (k3-like); otherwise it is signed (k1-like)."""
        return self.future_range[0] >= 0

    @property
    def bounded(self) -> bool:
        """Whether the local weight of a token is bounded, whatever its log-ratio."""
        return all(math.isfinite(end) for end in self.local_range)


def refuse_cost_at_the_reference(generator: Generator) -> None:
    """Refuses a generator with f(1) ≠ 0, by which equal policies would differ and every token would cost.

    Args:
        generator: the divergence.

    Raises:
        InvalidInput: f(1) is not 0.
    """
    at_reference = generator.future(torch.zeros(1)).item()
    if not abs(at_reference) < 1e-6:
        raise InvalidInput(
            f"divergence {generator.name!r}: f(1) is {at_reference:g}, and must be 0; subtract it from f"
        )


def from_f(name: str, f: Callable[[Tensor], Tensor]) -> Generator:
    """Makes a generator from f(u) alone; the local part is f + df/dδ, by autograd.

    Args:
        name: the name that figures and logs show.
        f: a differentiable, convex function of u = π_ref/π_θ > 0, elementwise, with f(1) = 0. It is evaluated at
            u = exp(−δ) as it stands: where that overflows, write `Generator` out with functions of δ.

    Returns:
        The generator.

    Raises:
        InvalidInput: f(1) is not 0.
    """

    def future(delta: Tensor) -> Tensor:
        return f(torch.exp(-delta))

    def local(delta: Tensor) -> Tensor:
        with torch.enable_grad():
            delta = delta.detach().requires_grad_()
            value = future(delta)
            (slope,) = torch.autograd.grad(value.sum(), delta)
        return value.detach() + slope - minus_slope_at_one

    one = torch.ones((), dtype=torch.float64, requires_grad=True)
    minus_slope_at_one = -torch.autograd.grad(f(one), one)[0].item()
    generator = Generator(name, local, future, gradient_at_zero=minus_slope_at_one)
    refuse_cost_at_the_reference(generator)
    return generator
