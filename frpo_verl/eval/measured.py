"""Computes the table: every quantity of a step and data source, with its intervals."""

import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from frpo_verl.eval.problem import Problem
from frpo_verl.evaluation.best_at_k import best_at_k
from frpo_verl.evaluation.intervals import Interval, over_problems, over_seeds
from frpo_verl.evaluation.maj_at_k import maj_at_k
from frpo_verl.evaluation.pass_at_k import pass_at_k

PASS, BEST, MEAN, MAJ = "pass@k", "best@k", "mean@k", "maj@k"
ENTROPY, DIVERGENCE, LENGTH = "entropy, nats/token", "divergence to the reference, nats/token", "tokens/response"


class Estimate(NamedTuple):
    """One quantity: the mean over seeds, and how far problems and seeds spread it.

    Attributes:
        quantity: its name.
        k: of how many samples; None where that does not matter.
        value: the mean over the seeds.
        problems: the interval over problems, None for a single one.
        seeds: the interval over seeds, None for a single one.
        deviation: of best@k: verl's `best@k/std`, the mean of the problems' standard deviations over resamples.
        by_seed: the value of each seed.
    """

    quantity: str
    k: int | None
    value: float
    problems: Interval | None
    seeds: Interval | None
    deviation: float | None
    by_seed: list[float]


class Asked(NamedTuple):
    """Says what to compute of the samples.

    Attributes:
        ks: each k of pass@k, best@k and maj@k.
        correct_at: a sample is correct when its score is at least this.
        votes: whether there are answers for maj@k.
        log_probs: whether there are the policy's log-probs.
        reference: whether there are those of a reference.
    """

    ks: Sequence[int]
    correct_at: float
    votes: bool
    log_probs: bool
    reference: bool


class _Quantity(NamedTuple):
    name: str
    k: int | None
    value: Callable[[Problem], float]
    weight: Callable[[Problem], float]
    deviation: Callable[[Problem], float] | None = None


def measure(seeds: Sequence[dict[str, Problem]], asked: Asked, told: Callable[[], None]) -> list[Estimate]:
    """Computes everything that the samples allow.

    Args:
        seeds: the problems of each seed, all of the same keys.
        asked: what to compute; every k is at most the number of samples of any problem.
        told: called after each problem of each seed.

    Returns:
        An estimate for each quantity.
    """
    quantities, keys = list(_quantities(asked)), list(seeds[0])
    values, weights, deviations = np.zeros((3, len(quantities), len(seeds), len(keys)))
    for seed, problems in enumerate(seeds):
        for number, key in enumerate(keys):
            at = (slice(None), seed, number)
            values[at] = [quantity.value(problems[key]) for quantity in quantities]
            weights[at] = [quantity.weight(problems[key]) for quantity in quantities]
            deviations[at] = [each.deviation(problems[key]) if each.deviation else 0.0 for each in quantities]
            told()
    by_seed = ((values * weights).sum(axis=2) / weights.sum(axis=2)).tolist()
    return [
        Estimate(
            quantity=of.name,
            k=of.k,
            value=statistics.fmean(each),
            problems=interval,
            seeds=over_seeds(each),
            deviation=float(deviation) if of.deviation else None,
            by_seed=each,
        )
        for of, each, interval, deviation in zip(
            quantities, by_seed, over_problems(values, weights), deviations.mean(axis=(1, 2)), strict=True
        )
    ]


def _quantities(asked: Asked) -> Iterator[_Quantity]:
    best = functools.lru_cache(maxsize=1024)(best_at_k)

    def alike(problem: Problem) -> float:
        return 1.0

    def tokens(problem: Problem) -> float:
        return float(problem.tokens)

    def passed(problem: Problem, k: int) -> float:
        return pass_at_k(len(problem.scores), sum(score >= asked.correct_at for score in problem.scores), k)

    yield _Quantity(MEAN, None, lambda problem: statistics.fmean(problem.scores), alike)
    for k in asked.ks:
        yield _Quantity(PASS, k, functools.partial(passed, k=k), alike)
    for k in asked.ks:
        yield _Quantity(
            BEST,
            k,
            lambda problem, k=k: best(tuple(problem.scores), k).mean,
            alike,
            lambda problem, k=k: best(tuple(problem.scores), k).deviation,
        )
    for k in asked.ks if asked.votes else ():
        yield _Quantity(MAJ, k, lambda problem, k=k: maj_at_k(problem.scores, problem.answers, k), alike)
    if asked.log_probs:
        yield _Quantity(ENTROPY, None, lambda problem: -problem.log_prob / max(problem.tokens, 1), tokens)
        yield _Quantity(LENGTH, None, lambda problem: problem.tokens / len(problem.scores), alike)
    if asked.reference:
        yield _Quantity(DIVERGENCE, None, lambda problem: problem.log_ratio / max(problem.tokens, 1), tokens)
