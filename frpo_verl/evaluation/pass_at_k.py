"""Estimates pass@k without bias: the chance that at least one of k samples of a problem is correct."""

from collections.abc import Sequence
from math import comb


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Estimates pass@k of one problem from n samples of which c are correct.

        pass@k = 1 − C(n−c, k) / C(n, k)

    The binomials are whole numbers of any size, so that only the quotient is rounded.

    See "Evaluating Large Language Models Trained on Code" (https://arxiv.org/abs/2107.03374), equation 1.

    Args:
        num_samples: n, the number of samples drawn of the problem.
        num_correct: c, the number of correct ones among them.
        k: how many samples a user may try.

    Returns:
        A probability.

    Raises:
        ValueError: unless 1 <= k <= n and 0 <= c <= n.
    """
    n, c = num_samples, num_correct
    if not 1 <= k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n, but k = {k} and n = {n}: draw more samples or lower k.")
    if not 0 <= c <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n, but c = {c} and n = {n}: count correct samples of these n only.")
    return 1 - comb(n - c, k) / comb(n, k)


def pass_at_k_per_problem(num_samples: Sequence[int], num_correct: Sequence[int], k: int) -> list[float]:
    """Estimates pass@k of every problem; the problems may have different numbers of samples.

    Args:
        num_samples: n of each problem.
        num_correct: c of each problem, in the same order.
        k: how many samples a user may try.

    Returns:
        One probability per problem.

    Raises:
        ValueError: the lengths differ, or a problem breaks the conditions of `pass_at_k`.
    """
    if len(num_samples) != len(num_correct):
        raise ValueError(
            f"{len(num_samples)} sample counts but {len(num_correct)} correct counts: give one of each per problem."
        )
    return [pass_at_k(n, c, k) for n, c in zip(num_samples, num_correct, strict=True)]
