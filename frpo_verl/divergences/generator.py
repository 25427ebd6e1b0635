"""Defines a divergence as two functions of the log-ratio.

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

    Both map a tensor of any shape to one of the same shape, elementwise, in nats, leave their argument as it is, and
    are 0 at δ = 0. The facts of a divergence are for people and for start-up checks; no result is computed with them.

    Attributes:
        name: the name that figures and logs show.
        local: f(u) − f'(u)·u at u = exp(−δ), up to the constant that makes it 0 at δ = 0.
        future: f(u) at u = exp(−δ).
        formula: f(u), for people.
        aliases: the names that configurations use.
        local_range: infimum and supremum of the local part over all δ, or bounds of them.
        future_range: infimum and supremum of the future part over all δ, or bounds of them.
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
        """Tells whether a single token's f is never negative (k3-like); otherwise it is signed (k1-like)."""
        return self.future_range[0] >= 0


def log_ratio_itself(delta: Tensor) -> Tensor:
    """Returns δ as it is, the local and the future part of reverse KL; the compiled pass recognises this function."""
    return delta


def refuse_unfit(generator: Generator) -> None:
    """Refuses a generator unless f(1) = 0 and local(0) = 0: otherwise identical policies would differ."""
    if not isinstance(generator, Generator):
        raise InvalidInput(f"generator is {generator!r}: it must be a Generator, for instance by_name('k3')")
    zero = torch.zeros(1)
    future, local = generator.future(zero.clone()).item(), generator.local(zero).item()
    if not abs(future) < 1e-6:
        raise InvalidInput(f"divergence {generator.name!r}: f(1) is {future:g}, and must be 0; subtract it from f")
    if not abs(local) < 1e-6:
        raise InvalidInput(
            f"divergence {generator.name!r}: the local part at δ = 0 is {local:g}, and must be 0; subtract it, since a "
            "constant has no expected gradient"
        )


def from_f(name: str, f: Callable[[Tensor], Tensor]) -> Generator:
    """Makes a generator from f(u) alone; the local part is f + df/dδ, by autograd.

    Everything is evaluated in float64, with δ held within ±80 and values within ±1e36, so that it is finite in float32
    whatever f is; where speed matters, write `Generator` out with functions of δ.

    Args:
        name: the name that figures and logs show.
        f: a twice differentiable, convex function of u = π_ref/π_θ > 0, elementwise, with f(1) = 0.

    Returns:
        The generator.

    Raises:
        InvalidInput: f(1) is not 0, or f is not convex at 1.
    """
    one = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(f(one), one, create_graph=True)
    curvature = torch.autograd.grad(slope, one)[0].item() if slope.requires_grad else 0.0
    slope = slope.item()

    def future(delta: Tensor) -> Tensor:
        return _held(f(torch.exp(-_held(delta.double(), 80))), 1e36).to(torch.promote_types(delta.dtype, torch.float32))

    def local(delta: Tensor) -> Tensor:
        # Also inside inference mode, where a trainer may call it.
        with torch.inference_mode(False), torch.enable_grad():
            held = _held(delta.detach().double(), 80).clone().requires_grad_()
            value = f(torch.exp(-held))
            (gradient,) = torch.autograd.grad(value.sum(), held)
        value = value.detach() + gradient + slope
        return _held(value, 1e36).to(torch.promote_types(delta.dtype, torch.float32))

    generator = Generator(
        name,
        local=local,
        future=future,
        # A convex f with f(1) = f'(1) = 0 is nowhere negative.
        future_range=(0.0 if abs(slope) < 1e-12 else -math.inf, math.inf),
        gradient_at_zero=-slope,
        curvature=curvature,
    )
    refuse_unfit(generator)
    if curvature < 0:
        raise InvalidInput(f"divergence {name!r}: f″(1) is {curvature:g}, so f is not convex: change its sign")
    return generator


def _held(values: Tensor, limit: float) -> Tensor:
    return values.clamp(-limit, limit)
