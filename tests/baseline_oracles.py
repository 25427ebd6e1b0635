"""Slow oracle for the baseline of the whole weight: loops, float64, no code of this package.

Ridge regression of w = A - beta * reg on five columns, with coefficients from the other groups and earlier batches.
Cross-fitting: Chernozhukov et al. 2018; leave-one-out: RLOO, arXiv 2402.14740; linear baselines: Greensmith, Bartlett,
Baxter 2004. A masked slot is stepped over, never multiplied by zero, since it may hold NaN.
"""

import math
from collections.abc import Callable, Hashable

Rows = list[list[float]]
Marks = list[list[bool]]
Matrix = list[list[float]]
Normal = tuple[Matrix, list[float]]
ScalarFunction = Callable[[float], float]

COLUMNS = 5


def positions(valid: list[bool]) -> list[int]:
    return [t for t in range(len(valid)) if valid[t]]


def columns(reg: Rows, future: Rows, mask: Marks, groups: list[Hashable], rollouts: list[Hashable]) -> list[Rows]:
    """For each response the five columns of each of its valid tokens, the n-th valid token being at place n from 0.

    1; n; mean of reg over the others that have a token n, at it; mean over the others of the sum of their future terms;
    sum of the own future terms before n. Others: responses of the group, with a token, of another rollout.
    """
    of_valid = [[row[t] for t in positions(valid)] for row, valid in zip(reg, mask, strict=True)]
    terms = [[row[t] for t in positions(valid)] for row, valid in zip(future, mask, strict=True)]
    result = []
    for i in range(len(reg)):
        others = [
            k for k in range(len(reg)) if groups[k] == groups[i] and rollouts[k] != rollouts[i] and len(of_valid[k]) > 0
        ]
        rows = []
        for n in range(len(of_valid[i])):
            running = [of_valid[k][n] for k in others if len(of_valid[k]) > n]
            sequences = [sum(terms[k]) for k in others]
            rows.append(
                [
                    1.0,
                    float(n),
                    sum(running) / len(running) if running else 0.0,
                    sum(sequences) / len(sequences) if sequences else 0.0,
                    sum(terms[i][:n]),
                ]
            )
        result.append(rows)
    return result


def solve(matrix: Matrix, right: list[float]) -> list[float]:
    """Gaussian elimination with partial pivoting."""
    size = len(right)
    rows = [[*matrix[i], right[i]] for i in range(size)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (rows[i][size] - sum(rows[i][k] * found[k] for k in range(i + 1, size))) / rows[i][i]
    return found


def ridge(matrix: Matrix, right: list[float]) -> list[float]:
    """theta = S^-1 (S^-1 N S^-1 + 0.3 I)^-1 S^-1 v with S the root of the diagonal.

    S is floored at a root mean square of 1e-6 (the first column is of ones). A column of zeros gets 0.
    """
    size = len(right)
    scale = [max(math.sqrt(matrix[i][i]), 1e-6 * math.sqrt(matrix[0][0])) or 1.0 for i in range(size)]
    scaled = [[matrix[i][k] / (scale[i] * scale[k]) + 0.3 * (i == k) for k in range(size)] for i in range(size)]
    found = solve(scaled, [right[i] / scale[i] for i in range(size)])
    return [found[i] / scale[i] for i in range(size)]


def empty() -> Normal:
    return [[0.0] * COLUMNS for _ in range(COLUMNS)], [0.0] * COLUMNS


def normal_equations(rows: list[Rows], weights: Rows, members: list[int]) -> Normal:
    """Sums of z z^T and z w over the tokens of some responses; `weights` holds those of valid tokens, in order."""
    matrix, right = empty()
    for i in members:
        for z, w in zip(rows[i], weights[i], strict=True):
            for a in range(COLUMNS):
                right[a] += z[a] * w
                for b in range(COLUMNS):
                    matrix[a][b] += z[a] * z[b]
    return matrix, right


def added(one: Normal, other: Normal, factor: float = 1.0) -> Normal:
    matrix = [[factor * (a + b) for a, b in zip(x, y, strict=True)] for x, y in zip(one[0], other[0], strict=True)]
    return matrix, [factor * (a + b) for a, b in zip(one[1], other[1], strict=True)]


def without_baseline(outcome: Rows, reg: Rows, mask: Marks, beta: float) -> Rows:
    """w of the valid tokens of each response, in order."""
    return [
        [outcome[i][t] - beta * reg[i][t] for t in positions(mask[i])]
        for i in range(len(mask))
    ]  # fmt: skip


def baselined(
    outcome: Rows,
    reg: Rows,
    future: Rows,
    mask: Marks,
    groups: list[Hashable],
    beta: float,
    *,
    rollouts: list[Hashable] | None = None,
    earlier: Normal | None = None,
    kind: str = "fitted",
    subtracted: float | None = None,
) -> tuple[Rows, float, Normal]:
    """A batch's advantages less their baseline, R squared, and the memory for the next batch.

    Args:
        outcome: A of every slot.
        reg: the divergence to go of every slot.
        future: future(delta) of every slot.
        mask: True for the tokens that the policy produced.
        groups: name of each response's group.
        beta: the coefficient in the weight that is fitted.
        rollouts: name of each response's rollout; each is one where it is None.
        earlier: the memory of earlier batches.
        kind: 'fitted'; 'in sample', the mistake, with the own group in the fit; 'loo_position', whose coefficient of
            the others' mean is -beta and all others 0.
        subtracted: the coefficient of the term in the result, where it is another than that of the fit.

    Returns:
        Rows of A - beta * reg - z theta, 0 in masked slots; 1 - sum (w - z theta)^2 / sum w^2; 0.9 (earlier + batch).
    """
    rollouts = list(range(len(reg))) if rollouts is None else rollouts
    rows = columns(reg, future, mask, groups, rollouts)
    weights = without_baseline(outcome, reg, mask, beta)
    memory = empty() if earlier is None else earlier
    result = [[0.0] * len(row) for row in reg]
    left = whole = 0.0
    for i in range(len(reg)):
        fitted_on = [k for k in range(len(reg)) if kind == "in sample" or groups[k] != groups[i]]
        theta = [0.0, 0.0, -beta, 0.0, 0.0]
        if kind != "loo_position":
            theta = ridge(*added(normal_equations(rows, weights, fitted_on), memory))
        for n, t in enumerate(positions(mask[i])):
            baseline = sum(c * z for c, z in zip(theta, rows[i][n], strict=True))
            term = beta if subtracted is None else subtracted
            result[i][t] = outcome[i][t] - term * reg[i][t] - baseline
            left += (weights[i][n] - baseline) ** 2
            whole += weights[i][n] ** 2
    batch = normal_equations(rows, weights, list(range(len(reg))))
    return result, 1.0 - left / whole if whole else 0.0, added(memory, batch, 0.9)
