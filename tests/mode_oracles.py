"""Slow oracles for the modes, metrics and diagnostics of FRPO (arXiv 2601.10201): loops, float64, no package code.

Conventions: rows are plain lists of floats, one row per response; a token is valid where its mask is not 0. A masked
slot is stepped over, never multiplied by zero, because it may hold NaN. d (delta) = log pi - log pi_ref of one token.
"""

import math
from collections.abc import Callable, Hashable

Rows = list[list[float]]
ScalarFunction = Callable[[float], float]
# (local, future): what one token's log-ratio adds to its own sum, and to the sums of the tokens before it.
Pair = tuple[ScalarFunction, ScalarFunction]


# ---- Small helpers ----


def valid_positions(mask_row: list[float]) -> list[int]:
    """Columns of the valid tokens of one response, in order."""
    return [t for t, valid in enumerate(mask_row) if valid]


def valid_values(rows: Rows, mask: Rows) -> list[float]:
    """All valid tokens of the batch, pooled: row by row, left to right."""
    return [row[t] for row, valid in zip(rows, mask, strict=True) for t in valid_positions(valid)]


def mean(values: list[float]) -> float:
    """Plain mean; 0 for an empty list, the convention of every figure here."""
    return math.fsum(values) / len(values) if values else 0.0


def population_variance(values: list[float]) -> float:
    """(1/N) sum (v - mean)^2, divisor N; 0 for an empty list."""
    # Rounding in the mean would leave about 1e-34 for equal values, and a ratio of two such zeros can be anything.
    if not values or min(values) == max(values):
        return 0.0
    centre = mean(values)
    return mean([(value - centre) ** 2 for value in values])


def quantile(values: list[float], q: float) -> float:
    """Linear interpolation between order statistics at position q (N - 1), from 0: numpy's default; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    lower = math.floor(position)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (position - lower) * (ordered[upper] - ordered[lower])


# ---- What the correction did to the advantages ----


def diagnose(before: Rows, after: Rows, mask: Rows) -> dict[str, float | list[float]]:
    """Size and shape of the correction c = before - after (beta * reg for FRPO), all valid tokens pooled.

    Args:
        before: advantages without the correction.
        after: advantages with it.
        mask: not 0 at valid tokens.

    Returns:
        variance_share: Var(c) / (Var(before) + Var(c)), population variances, 0 when Var(c) is 0. (The covariance of
            the two is left out, so this is not the share of Var(after).)
        sign_flips: share of the valid tokens with before * after < 0.
        quantiles: of c at 5 %, 50 % and 95 %.
        profile: mean of c over the tokens of each tenth; the n-th (from 1) of a response's T valid tokens belongs to
            tenth floor(10 (n - 1) / T); 0 for a tenth that no token falls into.
        All of them 0 without any valid token.
    """
    values_before, corrections, flips = [], [], 0
    tenths: list[list[float]] = [[] for _ in range(10)]
    for row_before, row_after, valid in zip(before, after, mask, strict=True):
        positions = valid_positions(valid)
        for index, t in enumerate(positions):
            x, y = row_before[t], row_after[t]
            values_before.append(x)
            corrections.append(x - y)
            # The sign of the exact product: the product of two tiny floats would round to 0.
            flips += (x < 0.0 < y) or (y < 0.0 < x)
            # Integers only: 10 * (index / T) can fall just under a whole number.
            tenths[10 * index // len(positions)].append(x - y)

    variance = population_variance(corrections)
    return {
        "variance_share": variance / (population_variance(values_before) + variance) if variance else 0.0,
        "sign_flips": flips / len(corrections) if corrections else 0.0,
        "quantiles": [quantile(corrections, q) for q in (0.05, 0.5, 0.95)],
        "profile": [mean(tenth) for tenth in tenths],
    }


# ---- The coefficient ----


def adaptive_beta(
    start: float, target: float, horizon: float, divergences: list[float], responses: list[int]
) -> list[float]:
    """Log-space proportional controller of Ziegler et al. (arXiv 1909.08593, section 2.2).

    e = clip(d / target - 1, -0.2, 0.2);  beta <- beta (1 + K e). The paper has a constant K = 0.1; here K = n / horizon
    with n the responses of the step, so that the pace counts samples and not steps.

    Args:
        start: the coefficient of the first step.
        target: the divergence that leaves the coefficient alone.
        horizon: responses over which an error of e changes the coefficient by about the factor exp(e).
        divergences: measured at each step.
        responses: n of each step.

    Returns:
        The coefficient used at each step and then the one after the last: one more entry than there are steps.
    """
    used = [start]
    for divergence, n in zip(divergences, responses, strict=True):
        error = min(max(divergence / target - 1.0, -0.2), 0.2)
        used.append(used[-1] * (1.0 + error * n / horizon))
    return used


# ---- Functions of the log-ratio: Theorem 4.1 with u = exp(-d), local f(u) - f'(u) u and future f(u) ----


def log_ratio(d: float) -> float:
    """k1 of reverse KL, f(u) = -log u: future d, and local d + 1 less the 1, whose expected gradient is zero."""
    return d


def k3(d: float) -> float:
    """f(u) = -log u + u - 1, that is exp(-d) + d - 1. Its local part is f - (u - 1) = -log u = d, not k3 again."""
    return math.expm1(-d) + d  # exp(-d) - 1 without the cancellation near 0


def forward_kl_local(d: float) -> float:
    """f(u) = u log u - u + 1 has f' = log u, so f - f' u = 1 - u = 1 - exp(-d)."""
    return -math.expm1(-d)


def forward_kl_future(d: float) -> float:
    """f(u) = u log u - u + 1 at u = exp(-d): -d exp(-d) - exp(-d) + 1 = 1 - exp(-d) (1 + d)."""
    return -math.expm1(-d) - d * math.exp(-d)


REVERSE_KL_K1: Pair = (log_ratio, log_ratio)
REVERSE_KL_K3: Pair = (log_ratio, k3)
FORWARD_KL: Pair = (forward_kl_local, forward_kl_future)


def appendix_e(local: ScalarFunction, future: ScalarFunction) -> Pair:
    """Appendix E's variant: the divergence itself in the whole inclusive sum. For k3 not Theorem 4.1's gradient."""
    return future, future


def token_clip(local: ScalarFunction, future: ScalarFunction, bound: float) -> Pair:
    """Both functions, applied to clip(d, -bound, bound)."""

    def clipped(function: ScalarFunction) -> ScalarFunction:
        return lambda d: function(min(max(d, -bound), bound))

    return clipped(local), clipped(future)


# ---- The divergence to go and its modes ----


def divergence_to_go(
    delta: Rows,
    mask: Rows,
    local: ScalarFunction,
    future: ScalarFunction,
    *,
    horizon: int | None = None,
    discount: float = 1.0,
    baseline: str = "none",
    centring: str = "none",
    scale: str = "none",
    step_length: int | None = None,
    step_value: str = "start",
    group: list[Hashable] | None = None,
) -> Rows:
    """reg_t = local(d_t) + sum over later valid j of w(n) future(d_j), with Theorem 4.1's w = 1 as the default.

    n is the number of valid tokens after t up to and including j (so n >= 1); w(n) = discount^n, and 0 for
    n > horizon. The modes then follow in the order of the arguments: baseline, centring, scale, steps.

    Args:
        delta: log pi - log pi_ref.
        mask: not 0 at valid tokens.
        local: of the token itself.
        future: of every later token.
        horizon: how many later valid tokens count; None for all of them.
        discount: per valid token. The token itself is never discounted.
        baseline: 'length' (section 6.2.2) subtracts (valid tokens strictly after t) times the mean of future(d) over
            the valid tokens of the whole batch; neither horizon nor discount enters it.
        centring: 'group' subtracts the mean over the valid tokens, pooled, of the other responses of the same group.
        scale: 'length' divides by the response's number of valid tokens.
        step_length: valid tokens per run; each token takes the value at one end of its run. None: token by token.
        step_value: 'start' or 'end', which end that is.
        group: name of each response's group, for centring.

    Returns:
        Rows of reg; 0 in masked slots.
    """
    if baseline not in ("none", "length") or centring not in ("none", "group") or scale not in ("none", "length"):
        raise ValueError(f"unknown mode among {baseline=}, {centring=}, {scale=}")
    if step_value not in ("start", "end") or (step_length is not None and step_length < 1):
        raise ValueError(f"no such steps: {step_length=}, {step_value=}")
    if centring == "group" and group is None:
        raise ValueError("centring='group' needs the groups")

    valid = [valid_positions(row) for row in mask]

    # The sum itself.
    reg = [[0.0] * len(row) for row in delta]
    for i, row in enumerate(delta):
        for place, t in enumerate(valid[i]):
            reg[i][t] = local(row[t])
            for n, j in enumerate(valid[i][place + 1 :], start=1):
                if horizon is None or n <= horizon:
                    reg[i][t] += discount**n * future(row[j])

    if baseline == "length":
        token_mean = mean([future(d) for d in valid_values(delta, mask)])
        for i in range(len(reg)):
            for place, t in enumerate(valid[i]):
                reg[i][t] -= (len(valid[i]) - 1 - place) * token_mean

    if centring == "group":
        # Every mean is of the values before centring, so that the order of the responses does not matter.
        uncentred = [list(row) for row in reg]
        for i in range(len(reg)):
            others = []
            for k in range(len(reg)):
                if k != i and group[k] == group[i]:
                    others += [uncentred[k][t] for t in valid[k]]
            for t in valid[i]:
                reg[i][t] -= mean(others)  # 0, nothing subtracted, when there are no others

    if scale == "length":
        for i in range(len(reg)):
            for t in valid[i]:
                reg[i][t] /= len(valid[i])

    if step_length is not None:
        for i in range(len(reg)):
            for first in range(0, len(valid[i]), step_length):
                run = valid[i][first : first + step_length]
                # Read before the loop writes over it.
                value = reg[i][run[0]] if step_value == "start" else reg[i][run[-1]]
                for t in run:
                    reg[i][t] = value

    return reg


# ---- Actor updates ----


def current_kl_epoch(
    advantages: Rows,
    log_probs_now: Rows,
    ref_log_probs: Rows,
    mask: Rows,
    beta: float,
    local: ScalarFunction,
    future: ScalarFunction,
) -> Rows:
    """Appendix E: A_{i,t} - beta reg_{i,t}, with reg recomputed under the current policy at an actor update.

    Args:
        advantages: of the outcome alone; the caller must not have taken an older reg off them already.
        log_probs_now: of the policy as it stands before this update.
        ref_log_probs: of the reference.
        mask: not 0 at valid tokens.
        beta: strength.
        local: of the token itself.
        future: of every later token.

    Returns:
        Advantages, to be held constant; masked slots keep theirs as given.
    """
    delta = [
        [x - y for x, y in zip(row, ref_row, strict=True)]
        for row, ref_row in zip(log_probs_now, ref_log_probs, strict=True)
    ]
    reg = divergence_to_go(delta, mask, local, future)
    result = [list(row) for row in advantages]
    for i, valid in enumerate(mask):
        for t in valid_positions(valid):
            result[i][t] -= beta * reg[i][t]
    return result


def ppo_surrogate(
    log_probs_now: Rows, log_probs_old: Rows, advantages: Rows, mask: Rows, clip_low: float, clip_high: float
) -> tuple[float, Rows]:
    """PPO's clipped loss, and its gradient in log_probs_now with the advantages held constant.

    loss = -(1/N) sum over the N valid tokens of min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A),
    rho = exp(now - old). As d rho / d now = rho, a token's gradient is -(1/N) rho A, and 0 where the minimum is the
    clipped product with rho outside its range: rho > 1 + clip_high with A > 0, and rho < 1 - clip_low with A < 0.
    On the edge itself, where the two one-sided derivatives differ, it is -(1/N) rho A, as torch has it. An advantage
    that carries a gradient (reg through log_probs_now) shows up as a difference from this.

    Returns:
        (loss, gradient rows); both 0 without any valid token, and the gradient 0 in masked slots.
    """
    gradient = [[0.0] * len(row) for row in log_probs_now]
    tokens = [(i, t) for i, row in enumerate(mask) for t in valid_positions(row)]
    terms = []
    for i, t in tokens:
        advantage = advantages[i][t]
        rho = math.exp(log_probs_now[i][t] - log_probs_old[i][t])
        clipped = min(max(rho, 1.0 - clip_low), 1.0 + clip_high)
        terms.append(min(rho * advantage, clipped * advantage))
        flat = (advantage > 0.0 and rho > 1.0 + clip_high) or (advantage < 0.0 and rho < 1.0 - clip_low)
        if not flat:
            gradient[i][t] = -rho * advantage / len(tokens)
    return -mean(terms), gradient


# ---- Metrics ----


def metrics_of_batch(
    delta: Rows,
    log_prob: Rows,
    mask: Rows,
    local: ScalarFunction,
    future: ScalarFunction,
    beta: float,
    outcome_rows: Rows,
) -> dict[str, float]:
    """Figures of one batch; 0 without any valid token.

    Args:
        delta: log pi - log pi_ref.
        log_prob: log pi of the sampled tokens.
        mask: not 0 at valid tokens.
        local: of the token itself.
        future: of every later token; also the token's divergence.
        beta: taken for the shape of the call; no figure here depends on it (`diagnose` is the place).
        outcome_rows: likewise.

    Returns:
        token_mean: sum of m future(d) / sum of m.
        sequence_mean: mean, over the responses with a valid token, of their sum of m future(d).
        future_mean, future_std: of reg (plain divergence to go, without beta) over valid tokens; std with divisor N.
        entropy: -(sum of m log_prob) / sum of m, the estimate from the sampled tokens.
    """
    del beta, outcome_rows
    sums = []
    for row, valid in zip(delta, mask, strict=True):
        positions = valid_positions(valid)
        if positions:
            sums.append(math.fsum(future(row[t]) for t in positions))
    reg = valid_values(divergence_to_go(delta, mask, local, future), mask)
    return {
        "token_mean": mean([future(d) for d in valid_values(delta, mask)]),
        "sequence_mean": mean(sums),
        "future_mean": mean(reg),
        "future_std": math.sqrt(population_variance(reg)),
        "entropy": -mean(valid_values(log_prob, mask)),
    }
