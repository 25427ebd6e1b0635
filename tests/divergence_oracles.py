"""Textbook divergences between two finite distributions, and the two token terms of Theorem 4.1, slow and exact.

Everywhere u = pi_ref / pi_theta and the expectation is under pi_theta:

    D(pi_theta, pi_ref) = E_{a ~ pi_theta} f(u(a)) = sum_a pi_theta(a) f(pi_ref(a) / pi_theta(a))

Dictionary to the textbook D_phi(P || Q) = sum_x Q(x) phi(P(x) / Q(x)):

    P = pi_ref,   Q = pi_theta, phi = f                                    (the generator as it stands)
    P = pi_theta, Q = pi_ref,   phi(t) = t f(1/t)                          (the adjoint generator)

so that f = -log u is D_phi with phi = -log t on (pi_ref, pi_theta), or phi = t log t on (pi_theta, pi_ref): the reverse
KL of RL, KL(pi_theta || pi_ref). All `exact` functions take p = pi_theta first and q = pi_ref second.
"""

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import torch
from torch import Tensor

Distribution = list[float]
Key = str | tuple[str, float]


@dataclass(frozen=True)
class Textbook:
    """f: the generator of u, by its formula. exact: the same divergence by its own sum over the vocabulary."""

    f: Callable[[Tensor], Tensor]
    exact: Callable[[Distribution, Distribution], float]


# ---- Divergences by their own definitions; p = pi_theta, q = pi_ref, all probabilities positive ----


def kullback_leibler(p: Distribution, q: Distribution) -> float:
    """KL(p || q) = sum p log(p / q)."""
    total = 0.0
    for p_x, q_x in zip(p, q, strict=True):
        total += p_x * math.log(p_x / q_x)
    return total


def reverse_kl(p: Distribution, q: Distribution) -> float:
    """KL(pi_theta || pi_ref)."""
    return kullback_leibler(p, q)


def forward_kl(p: Distribution, q: Distribution) -> float:
    """KL(pi_ref || pi_theta)."""
    return kullback_leibler(q, p)


def k2(p: Distribution, q: Distribution) -> float:
    """E_pi 1/2 (log pi - log ref)^2. No f-divergence: 1/2 log(u)^2 is concave beyond u = e."""
    total = 0.0
    for p_x, q_x in zip(p, q, strict=True):
        total += p_x * 0.5 * (math.log(p_x) - math.log(q_x)) ** 2
    return total


def jeffreys(p: Distribution, q: Distribution) -> float:
    """KL(p || q) + KL(q || p), without a factor 1/2."""
    return kullback_leibler(p, q) + kullback_leibler(q, p)


def jensen_shannon(p: Distribution, q: Distribution) -> float:
    """1/2 KL(p || m) + 1/2 KL(q || m), m the midpoint; at most log 2."""
    middle = [(p_x + q_x) / 2 for p_x, q_x in zip(p, q, strict=True)]
    return 0.5 * kullback_leibler(p, middle) + 0.5 * kullback_leibler(q, middle)


def squared_hellinger(p: Distribution, q: Distribution) -> float:
    """sum (sqrt p - sqrt q)^2, without a factor 1/2; at most 2."""
    total = 0.0
    for p_x, q_x in zip(p, q, strict=True):
        total += (math.sqrt(p_x) - math.sqrt(q_x)) ** 2
    return total


def pearson_chi2(p: Distribution, q: Distribution) -> float:
    """sum (q - p)^2 / p = chi^2(pi_ref || pi_theta)."""
    total = 0.0
    for p_x, q_x in zip(p, q, strict=True):
        total += (q_x - p_x) ** 2 / p_x
    return total


def neyman_chi2(p: Distribution, q: Distribution) -> float:
    """sum (q - p)^2 / q = chi^2(pi_theta || pi_ref)."""
    total = 0.0
    for p_x, q_x in zip(p, q, strict=True):
        total += (q_x - p_x) ** 2 / q_x
    return total


def total_variation(p: Distribution, q: Distribution) -> float:
    """max over events E of |p(E) - q(E)|, over all subsets of the vocabulary, so as not to repeat the half sum."""
    largest = 0.0
    for event in range(2 ** len(p)):
        members = [x for x in range(len(p)) if event >> x & 1]
        largest = max(largest, abs(sum(p[x] for x in members) - sum(q[x] for x in members)))
    return largest


TEXTBOOK: dict[str, Textbook] = {
    "reverse_kl": Textbook(lambda u: -torch.log(u), reverse_kl),
    "reverse_kl_k3": Textbook(lambda u: -torch.log(u) + u - 1, reverse_kl),
    "k2": Textbook(lambda u: 0.5 * torch.log(u) ** 2, k2),
    "forward_kl": Textbook(lambda u: u * torch.log(u), forward_kl),
    "forward_kl_k3": Textbook(lambda u: u * torch.log(u) - u + 1, forward_kl),
    "jeffreys": Textbook(lambda u: (u - 1) * torch.log(u), jeffreys),
    "jensen_shannon": Textbook(lambda u: 0.5 * (u * torch.log(u) - (1 + u) * torch.log((1 + u) / 2)), jensen_shannon),
    "squared_hellinger": Textbook(lambda u: (torch.sqrt(u) - 1) ** 2, squared_hellinger),
    "pearson_chi2": Textbook(lambda u: (u - 1) ** 2, pearson_chi2),
    "neyman_chi2": Textbook(lambda u: (u - 1) ** 2 / u, neyman_chi2),
    "total_variation": Textbook(lambda u: 0.5 * torch.abs(u - 1), total_variation),
}


def alpha(a: float) -> Textbook:
    """Cressie-Read / alpha family, f = (u^a - a u - (1 - a)) / (a (a - 1)), a not 0 or 1.

    a -> 0 is reverse_kl_k3, a -> 1 is forward_kl_k3, a = 2 half of Pearson, a = -1 half of Neyman, a = 1/2 twice the
    squared Hellinger. The linear terms sum to one, which leaves (sum p^(1-a) q^a - 1) / (a (a - 1)).
    """
    if a in (0, 1):
        raise ValueError("a = 0 and a = 1 are limits: take reverse_kl_k3 and forward_kl_k3")

    def exact(p: Distribution, q: Distribution) -> float:
        affinity = 0.0
        for p_x, q_x in zip(p, q, strict=True):
            affinity += p_x ** (1 - a) * q_x**a
        return (affinity - 1) / (a * (a - 1))

    return Textbook(lambda u: (u**a - a * u - (1 - a)) / (a * (a - 1)), exact)


def textbook_f_divergence(phi: Callable[[Tensor], Tensor], p: Distribution, q: Distribution) -> float:
    """D_phi(P || Q) = sum_x q(x) phi(p(x) / q(x)), the textbook's own letters.

    E_pi f(pi_ref / pi) is textbook_f_divergence(f, pi_ref, pi), and also textbook_f_divergence(adjoint(f), pi, pi_ref).
    """
    total = 0.0
    for p_x, q_x in zip(p, q, strict=True):
        total += q_x * float(phi(torch.tensor(p_x / q_x, dtype=torch.float64)))
    return total


def adjoint(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """t -> t f(1/t): swaps the two arguments of D_phi."""
    return lambda t: t * f(1 / t)


# ---- High-precision references for the two terms, as functions of delta = log pi_theta - log pi_ref ----

DIGITS = 60


def working_context(delta: float) -> decimal.Context:
    """Digits to spare for cancellation: terms of size 1 leave delta^2 behind, and delta may be a denormal."""
    lost = 0 if delta == 0 else max(0, -math.floor(math.log10(abs(delta))))
    return decimal.Context(prec=DIGITS + 20 + 3 * lost, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def sign(x: Decimal) -> Decimal:
    return Decimal((x > 0) - (x < 0))


def generator(key: Key, u: Decimal) -> Decimal:
    """f(u) in whatever decimal context is active."""
    if isinstance(key, tuple):
        a = Decimal(key[1])
        return ((a * u.ln()).exp() - a * u - (1 - a)) / (a * (a - 1))
    return {
        "reverse_kl": lambda: -u.ln(),
        "reverse_kl_k3": lambda: -u.ln() + u - 1,
        "k2": lambda: u.ln() ** 2 / 2,
        "forward_kl": lambda: u * u.ln(),
        "forward_kl_k3": lambda: u * u.ln() - u + 1,
        "jeffreys": lambda: (u - 1) * u.ln(),
        "jensen_shannon": lambda: (u * u.ln() - (1 + u) * ((1 + u) / 2).ln()) / 2,
        "squared_hellinger": lambda: (u.sqrt() - 1) ** 2,
        "pearson_chi2": lambda: (u - 1) ** 2,
        "neyman_chi2": lambda: (u - 1) ** 2 / u,
        "total_variation": lambda: abs(u - 1) / 2,
    }[key]()


def reference_future(key: Key, delta: float) -> Decimal:
    """f(e^-delta) to 60 digits. key is one of TEXTBOOK or ("alpha", a)."""
    with decimal.localcontext(working_context(delta)):
        value = generator(key, (-Decimal(delta)).exp())
    return rounded(value)


def reference_local(key: Key, delta: float) -> Decimal:
    """f(u) - f'(u) u at u = e^-delta, less its value at delta = 0, to 60 digits. key: TEXTBOOK or ("alpha", a).

    By hand, with d = delta (f'(u) u is in brackets; the value at 0 is 1 for reverse_kl, -1 for forward_kl, else 0):

        reverse_kl         d + 1           [-1]                         -> d
        reverse_kl_k3      d               [u - 1]
        k2                 d^2/2 + d       [log u = -d]
        forward_kl         -u              [u log u + u]                -> 1 - u
        forward_kl_k3      1 - u           [u log u]
        jeffreys           d + 1 - u       [u log u + u - 1]
        jensen_shannon     -1/2 log((1+u)/2)   [1/2 u log(2u/(1+u))]
        squared_hellinger  1 - sqrt u      [u - sqrt u]
        pearson_chi2       1 - u^2         [2u^2 - 2u]
        neyman_chi2        2 (1/u - 1)     [u - 1/u]
        total_variation    1/2 sign(d)     [1/2 sign(u-1) u]            subgradient 0 at u = 1
        alpha(a)           (1 - u^a) / a   [(u^a - u) / (a - 1)]
    """
    with decimal.localcontext(working_context(delta)):
        d = Decimal(delta)
        u = (-d).exp()
        if isinstance(key, tuple):
            a = Decimal(key[1])
            value = (1 - (-a * d).exp()) / a
        else:
            value = {
                "reverse_kl": lambda: d,
                "reverse_kl_k3": lambda: d,
                "k2": lambda: d * d / 2 + d,
                "forward_kl": lambda: 1 - u,
                "forward_kl_k3": lambda: 1 - u,
                "jeffreys": lambda: d + 1 - u,
                "jensen_shannon": lambda: -((1 + u) / 2).ln() / 2,
                "squared_hellinger": lambda: 1 - (-d / 2).exp(),
                "pearson_chi2": lambda: 1 - (-2 * d).exp(),
                "neyman_chi2": lambda: 2 * (d.exp() - 1),
                "total_variation": lambda: sign(d) / 2,
            }[key]()
    return rounded(value)


def rounded(value: Decimal) -> Decimal:
    """To 60 digits, whatever context the caller has."""
    return decimal.Context(prec=DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN).plus(value)


def differentiated_local(key: Key, delta: float) -> Decimal:
    """The same by a central difference of f with step 1e-30 u: good to about 50 digits, no derivative by hand."""
    with decimal.localcontext(working_context(delta)) as context:
        context.prec = 160

        def raw(u: Decimal) -> Decimal:
            step = u * Decimal("1e-30")
            slope = (generator(key, u + step) - generator(key, u - step)) / (2 * step)
            return generator(key, u) - slope * u

        value = raw((-Decimal(delta)).exp()) - raw(Decimal(1))
    return rounded(value)
