"""Computes maj@k without sampling: the expected score of the answer that most of k samples give."""

import math
from collections.abc import Hashable, Sequence

import numpy as np


def maj_at_k(scores: Sequence[float], answers: Sequence[Hashable], k: int) -> float:
    """Averages the majority's score over every choice of k of a problem's n samples, in every order.

        maj@k = Σ_a P(a wins) · s_a,   s_a: mean score of the samples that answer a

    The answer with most votes wins; of t answers with as many votes, each wins with probability 1/t, which is what
    verl's rule, the first one seen, gives in a random order.

    For every number of votes m that may win, the classes' votes are multiplied out as polynomials: Σ_j C(u, j) x^j for
    j < m votes of a class of u samples, and C(u, m) x^m · y where it ties for the lead. With p = k/n each C(u, j)
    stands with p^j (1 − p)^(u−j), so that all terms are probabilities and none cancels.

    See verl's `calc_maj_val` (verl/trainer/ppo/metric_utils.py), whose `maj@k/mean` samples this with replacement.

    Args:
        scores: one of each sample.
        answers: what each sample votes for; equal ones are one answer.
        k: how many samples vote.

    Returns:
        The expected score.

    Raises:
        ValueError: unless 1 <= k <= n, with an answer to each score.
    """
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"maj@k needs 1 <= k <= n, but k = {k} and n = {n}: draw more samples or lower k.")
    if len(answers) != n:
        raise ValueError(f"{n} scores but {len(answers)} answers: give one of each per sample.")
    of: dict[Hashable, list[float]] = {}
    for answer, score in zip(answers, scores, strict=True):
        of.setdefault(answer, []).append(score)
    classes = [(len(each), sum(each) / len(each)) for each in of.values()]
    total = sum(_led_by(classes, votes, k, k / n) for votes in range(1, min(k, max(size for size, _ in classes)) + 1))
    return float(total / _chance(n, k, k / n))


def _led_by(classes: Sequence[tuple[int, float]], votes: int, k: int, p: float) -> float:
    """Returns the sum over draws of k in which the lead has so many votes: chance × mean score of those that tie."""
    ties = k // votes
    # [t, s]: of draws with s samples so far, t classes of which have the lead; with room for one class's votes
    chance, score = np.zeros((2, ties + 1, k + 1 + votes))
    chance[0, 0] = 1
    for size, mean in classes:
        below = [_chance(size, j, p) for j in range(min(votes, size + 1))]
        tied = _chance(size, votes, p) if size >= votes else 0.0
        score, chance = (
            _product(score, below) + tied * _moved(score + mean * chance, votes),
            _product(chance, below) + tied * _moved(chance, votes),
        )
        chance[:, k + 1 :], score[:, k + 1 :] = 0, 0
    return sum(score[t, k] / t for t in range(1, ties + 1))


def _product(rows: np.ndarray, polynomial: Sequence[float]) -> np.ndarray:
    """Multiplies each row, whose last entries are 0 and take what goes over its end."""
    return np.convolve(rows.ravel(), polynomial)[: rows.size].reshape(rows.shape)


def _moved(rows: np.ndarray, votes: int) -> np.ndarray:
    """Multiplies by x^votes · y."""
    moved = np.zeros_like(rows)
    moved[1:, votes:] = rows[:-1, :-votes]
    return moved


def _chance(size: int, votes: int, p: float) -> float:
    if p == 1:
        return float(votes == size)
    # a binomial of more than a thousand is too large for a float
    return math.exp(math.log(math.comb(size, votes)) + votes * math.log(p) + (size - votes) * math.log1p(-p))
