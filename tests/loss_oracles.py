"""Slow oracles for policy losses, written from the definitions: plain numbers, no code of this package.

DRPO: arXiv 2606.09821, eq. 8 and 9. SPO: arXiv 2401.16025. Its ratio is that of the policy to the one that sampled.
"""

import math

HELD = 20.0
"""Log-ratios are held within ± this, as in verl's losses."""


def ratio(log_mu: float, log_pi: float) -> float:
    return math.exp(max(-HELD, min(HELD, log_pi - log_mu)))


def width(advantage: float, low: float, high: float) -> float:
    """A token that is to become likelier may do so by `high`, any other may move by `low`."""
    return high if advantage > 0 else low


def is_outside(log_mu: float, log_pi: float, delta: float) -> bool:
    mu = math.exp(log_mu)
    return abs(mu * ratio(log_mu, log_pi) - mu) > delta


def drpo(log_mu: float, log_pi: float, advantage: float, low: float, high: float) -> float:
    r, mu, delta = ratio(log_mu, log_pi), math.exp(log_mu), width(advantage, low, high)
    return -(r * advantage - abs(advantage) / (2 * delta) * mu * (r - 1) ** 2)


def spo(log_mu: float, log_pi: float, advantage: float, low: float, high: float) -> float:
    r, epsilon = ratio(log_mu, log_pi), width(advantage, low, high)
    return -(r * advantage - abs(advantage) / (2 * epsilon) * (r - 1) ** 2)


def drpo_outside(log_mu: float, log_pi: float, advantage: float, low: float, high: float) -> float:
    if is_outside(log_mu, log_pi, width(advantage, low, high)):
        return drpo(log_mu, log_pi, advantage, low, high)
    return -ratio(log_mu, log_pi) * advantage


def drpo_weight(log_mu: float, log_pi: float, advantage: float, low: float, high: float) -> float:
    """As the paper prints it, with the sign of A·(r − 1) and the distance."""
    r, mu, delta = ratio(log_mu, log_pi), math.exp(log_mu), width(advantage, low, high)
    side = advantage * (r - 1)
    return 1 - (0.0 if side == 0 else math.copysign(1.0, side)) * abs(mu * r - mu) / delta


def spo_weight(log_mu: float, log_pi: float, advantage: float, low: float, high: float) -> float:
    r, epsilon = ratio(log_mu, log_pi), width(advantage, low, high)
    side = advantage * (r - 1)
    return 1 - (0.0 if side == 0 else math.copysign(1.0, side)) * abs(r - 1) / epsilon


def drpo_outside_weight(log_mu: float, log_pi: float, advantage: float, low: float, high: float) -> float:
    if is_outside(log_mu, log_pi, width(advantage, low, high)):
        return drpo_weight(log_mu, log_pi, advantage, low, high)
    return 1.0


def softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    exponentials = [math.exp(logit - largest) for logit in logits]
    return [value / sum(exponentials) for value in exponentials]


def gradient_of_logits(logits: list[float], token: int, coefficient: float) -> list[float]:
    """coefficient · ∇ log π(token), by the derivative of a softmax."""
    return [coefficient * ((k == token) - p) for k, p in enumerate(softmax(logits))]
