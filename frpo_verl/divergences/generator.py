"""What a divergence is made of.

FRPO regularises with E_{a~π_θ} Σ_t f(u_t), where f is convex and u_t = π_ref(a_t|s_t) / π_θ(a_t|s_t) = exp(−δ_t)
(arXiv 2601.10201, eq. 4.1). Its policy gradient weighs token i by

    reg_i = [ f(u_i) − f'(u_i)·u_i ]  +  Σ_{j>i} f(u_j)                                          (Theorem 4.1)
             local part                   future part

so a generator is exactly the two functions of δ that stand there.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Generator(NamedTuple):
    """One f-divergence, as the two functions of δ = log π_θ − log π_ref that Theorem 4.1 needs.

    Both map a tensor of any shape to one of the same shape, elementwise, in nats.

    Attributes:
        name: the name that figures and logs show.
        local: f(u) − f'(u)·u at u = exp(−δ), up to a constant (a constant has zero expected policy gradient).
        future: f(u) at u = exp(−δ).
    """

    name: str
    local: Callable[[Tensor], Tensor]
    future: Callable[[Tensor], Tensor]
