"""Variants of the future-KL regulariser, by loops: its reach, its baseline, its scale and its steps.

Masked slots are skipped, never multiplied by zero (they may hold NaN), and get 0.0. Distances between tokens are
counted in valid tokens, so that a mask gives what slicing the masked tokens out would give.
"""

import math
from collections.abc import Callable, Hashable

import torch
from oracles import (
    Response,
    Reward,
    ScalarFunction,
    TinyPolicy,
    Weights,
    expected_group_gradient,
    log_ratios,
    objective,
    return_to_go,
    score_function_gradient,
    tiny_policy,
)
from torch import Tensor

Rows = list[list[float]]
Marks = list[list[bool]]


def valid_positions(valid: list[bool]) -> list[int]:
    return [t for t in range(len(valid)) if valid[t]]


# ---- How far the return reaches ----


def discounted_return_to_go(
    delta: Rows, mask: Marks, local: ScalarFunction, future: ScalarFunction, discount: float
) -> Rows:
    """local(d_t) + sum over j > t of discount^(number of valid tokens from t to j) * future(d_j).

    The next valid token is at distance 1, so discount = 0 leaves the local part and 1 is Theorem 4.1.
    """
    rows = []
    for row, valid in zip(delta, mask, strict=True):
        result = [0.0] * len(row)
        positions = valid_positions(valid)
        for order, t in enumerate(positions):
            result[t] = local(row[t])
            for distance, j in enumerate(positions[order + 1 :], start=1):
                result[t] += discount**distance * future(row[j])
        rows.append(result)
    return rows


def horizon_return_to_go(delta: Rows, mask: Marks, local: ScalarFunction, future: ScalarFunction, horizon: int) -> Rows:
    """local(d_t) + the future terms of the next `horizon` valid tokens; 0 leaves the local part alone."""
    rows = []
    for row, valid in zip(delta, mask, strict=True):
        result = [0.0] * len(row)
        positions = valid_positions(valid)
        for order, t in enumerate(positions):
            result[t] = local(row[t])
            for distance, j in enumerate(positions[order + 1 :], start=1):
                if distance <= horizon:
                    result[t] += future(row[j])
        rows.append(result)
    return rows


# ---- Baselines and scales ----


def length_baseline(future_rows: Rows, mask: Marks) -> Rows:
    """Section 6.2.2: b_t = (valid tokens strictly after t) * mean of future(d) over all valid tokens of the batch.

    `future_rows` holds future(d). Subtracted from reg. (T - t) depends on tokens drawn after t, so that it is no
    baseline in the theorem's sense unless the length is fixed, and the mean holds the response's own tokens.
    """
    total, count = 0.0, 0
    for row, valid in zip(future_rows, mask, strict=True):
        for t in valid_positions(valid):
            total += row[t]
            count += 1
    rows = []
    for row, valid in zip(future_rows, mask, strict=True):
        result = [0.0] * len(row)
        for t in valid_positions(valid):
            after = sum(1 for j in range(t + 1, len(row)) if valid[j])
            result[t] = after * total / count
        rows.append(result)
    return rows


def leave_one_out_group_mean(reg: Rows, mask: Marks, groups: list[Hashable]) -> list[float]:
    """For each response the mean of reg over all valid tokens of the OTHER responses of its group; 0 if there is none.

    Tokens are pooled, so that long responses weigh more. Independent of the response, hence a true baseline.
    """
    means = []
    for i in range(len(reg)):
        others = []
        for k in range(len(reg)):
            if k != i and groups[k] == groups[i]:
                others += [reg[k][t] for t in valid_positions(mask[k])]
        means.append(sum(others) / len(others) if others else 0.0)
    return means


def divide_by_length(reg: Rows, mask: Marks) -> Rows:
    """reg_t / (number of valid tokens of the response)."""
    rows = []
    for row, valid in zip(reg, mask, strict=True):
        result = [0.0] * len(row)
        positions = valid_positions(valid)
        for t in positions:
            result[t] = row[t] / len(positions)
        rows.append(result)
    return rows


# ---- Steps ----


def fixed_length_ends(mask: Marks, step_length: int) -> Marks:
    """Marks response positions t with (t + 1) divisible by step_length; masked positions are counted too, as in PRL."""
    return [[(t + 1) % step_length == 0 for t in range(len(valid))] for valid in mask]


def steps(valid: list[bool], marked: list[bool]) -> list[list[int]]:
    """Valid positions of one response cut into steps. A mark on a masked slot cuts nothing."""
    result: list[list[int]] = []
    step: list[int] = []
    for t in valid_positions(valid):
        step.append(t)
        if marked[t]:
            result.append(step)
            step = []
    # The last valid token ends a step whether it is marked or not.
    return [*result, step] if step else result


def value_at_step_end(values: Rows, mask: Marks, ends: Marks) -> Rows:
    """PRL's rule: every valid token gets the value found at the last valid token of its step.

    Read from MaxwellJryao/Process-Reward-Learning at 1ee49fa, verl/trainer/ppo/ray_trainer.py (step_mask) and
    core_algos.py (left_fill_by_next_nonzero, compute_prm_outcome_advantage). Its code deviates where
    - a step's value is exactly 0.0: zero means "empty" to the fill, so that the step takes the next non-zero step end
      (see prl_fill);
    - the mask has a hole: the forced last end is slot sum(mask) - 1, not the last valid slot. Valid tokens behind the
      last effective mark then get 0, and one more cut appears in the middle;
    - a slot is masked inside the response: it receives the value of the next step end, not 0.0;
    - splitting at text: the marker is the FIRST id of encode("\\n"), which is the BOS id for a tokenizer that adds one.
    The rule is otherwise applied to A - beta * reg, with A the same on all tokens, so it may be applied to reg alone.
    """
    rows = []
    for row, valid, marked in zip(values, mask, ends, strict=True):
        result = [0.0] * len(row)
        for step in steps(valid, marked):
            for t in step:
                result[t] = row[step[-1]]
        rows.append(result)
    return rows


def value_at_step_start(values: Rows, mask: Marks, ends: Marks) -> Rows:
    """Every valid token gets the value found at the first valid token of its step.

    For reverse KL this stays exact when the cut is known from the prefix: it only adds terms of earlier tokens.
    """
    rows = []
    for row, valid, marked in zip(values, mask, ends, strict=True):
        result = [0.0] * len(row)
        for step in steps(valid, marked):
            for t in step:
                result[t] = row[step[0]]
        rows.append(result)
    return rows


def prl_fill(values: Rows, mask: Marks, ends: Marks) -> Rows:
    """What PRL's code does, quirks included: each slot takes the first non-zero kept value at or after it, else 0."""
    rows = []
    for row, valid, marked in zip(values, mask, ends, strict=True):
        forced = (sum(valid) - 1) % len(row)  # -1, for an all-masked row, is the last slot
        result = [0.0] * len(row)
        for t in range(len(row)):
            for j in range(t, len(row)):
                kept = valid[j] and (marked[j] or j == forced)
                if kept and row[j] != 0.0:
                    result[t] = row[j]
                    break
        rows.append(result)
    return rows


# ---- Outcome advantages ----


def centred(scores: list[float], groups: list[Hashable], pass_singletons: bool = True) -> list[float]:
    """r - mean of its group (no deviation). A group of one keeps its score, as in verl, or else gets 0."""
    result = []
    for score, group in zip(scores, groups, strict=True):
        members = [other for other, name in zip(scores, groups, strict=True) if name == group]
        lone = len(members) == 1 and pass_singletons
        result.append(score if lone else score - sum(members) / len(members))
    return result


def population_normalised_groups(
    scores: list[float], groups: list[Hashable], epsilon: float, pass_singletons: bool = True
) -> list[float]:
    """(r - mean) / (std + epsilon) in each group, divisor n: Algorithm 1 with its epsilon.

    A group of one is taken as mean 0 and std 1 (verl's convention for the sample form), or else gets 0.
    Equal scores give 0 even for epsilon = 0.
    """
    result = []
    for score, group in zip(scores, groups, strict=True):
        members = [other for other, name in zip(scores, groups, strict=True) if name == group]
        mean = sum(members) / len(members)
        std = math.sqrt(sum((member - mean) ** 2 for member in members) / len(members))
        if len(members) == 1 and pass_singletons:
            result.append(score / (1.0 + epsilon))
        elif all(member == score for member in members):
            # By definition, not by arithmetic: the rounded mean of equal scores can differ from them.
            result.append(0.0)
        else:
            result.append((score - mean) / (std + epsilon))
    return result


# ---- Bias by enumeration ----


def relative_error(estimate: Tensor, exact: Tensor) -> float:
    return float((estimate - exact).norm() / exact.norm())


def expected_gradient_bias(
    policy: TinyPolicy,
    reference: TinyPolicy,
    reward: Reward,
    beta: float,
    f: Callable[[Tensor], Tensor],
    weights: Weights,
) -> float:
    """||E sum_t w_t grad log pi - grad Q|| / ||grad Q||, Q the objective of Eq. 4.1 with utility = identity.

    The expectation is over all responses; grad Q is autograd's, and owes nothing to the theorem. Q stays the undivided
    sum for divide_by_length too.
    """
    estimate = score_function_gradient(policy, weights)
    exact = torch.autograd.grad(objective(policy, reference, reward, beta, f), policy.logits)[0]
    return relative_error(estimate, exact)


def expected_group_bias(
    policy: TinyPolicy,
    reference: TinyPolicy,
    reward: Reward,
    beta: float,
    f: Callable[[Tensor], Tensor],
    group_size: int,
    advantages: Callable[[tuple[Response, ...]], Rows],
) -> float:
    """The same for advantages that look at the whole group."""
    estimate = expected_group_gradient(policy, group_size, advantages)
    exact = torch.autograd.grad(objective(policy, reference, reward, beta, f), policy.logits)[0]
    return relative_error(estimate, exact)


def regulariser_variants(local: ScalarFunction, future: ScalarFunction) -> dict[str, Callable[[Rows, Marks], Rows]]:
    """Every variant of the bias table as delta, mask -> reg."""

    def theorem(delta: Rows, mask: Marks) -> Rows:
        return return_to_go(delta, mask, local, future)

    return {
        "theorem 4.1": theorem,
        "appendix E, inclusive sum of f": lambda delta, mask: return_to_go(delta, mask, future, future),
        "discount 0.9": lambda delta, mask: discounted_return_to_go(delta, mask, local, future, 0.9),
        "horizon 1": lambda delta, mask: horizon_return_to_go(delta, mask, local, future, 1),
        "horizon 0 (local part only)": lambda delta, mask: horizon_return_to_go(delta, mask, local, future, 0),
        "PRL, value at step end, steps of 2": lambda delta, mask: value_at_step_end(
            theorem(delta, mask), mask, fixed_length_ends(mask, 2)
        ),
        "value at step start, steps of 2": lambda delta, mask: value_at_step_start(
            theorem(delta, mask), mask, fixed_length_ends(mask, 2)
        ),
        "divided by length": lambda delta, mask: divide_by_length(theorem(delta, mask), mask),
    }


def variant_weights(
    policy: TinyPolicy,
    reference: TinyPolicy,
    reward: Reward,
    beta: float,
    variant: Callable[[Rows, Marks], Rows],
) -> Weights:
    """w_t = r - beta * reg_t for a single response."""

    def weights(response: Response) -> list[float]:
        delta = log_ratios(policy, reference, response)
        return [reward(response) - beta * value for value in variant([delta], [[True] * len(delta)])[0]]

    return weights


def group_baselines(future: ScalarFunction) -> dict[str, Callable[[Rows, Rows, Marks], Rows]]:
    """What the group rows of the table subtract from reg, as delta, reg, mask -> rows."""

    def pooled(delta: Rows, reg: Rows, mask: Marks) -> Rows:
        means = leave_one_out_group_mean(reg, mask, [0] * len(reg))
        return [[mean] * len(row) for mean, row in zip(means, reg, strict=True)]

    def by_length(delta: Rows, reg: Rows, mask: Marks) -> Rows:
        return length_baseline([[future(d) for d in row] for row in delta], mask)

    return {"leave-one-out group mean, G = 2": pooled, "section 6.2.2 length baseline, G = 2": by_length}


def group_advantages(
    policy: TinyPolicy,
    reference: TinyPolicy,
    reward: Reward,
    beta: float,
    local: ScalarFunction,
    future: ScalarFunction,
    baseline: Callable[[Rows, Rows, Marks], Rows],
) -> Callable[[tuple[Response, ...]], Rows]:
    """A_it = r_i - beta * (reg_it - baseline_it), with the theorem's reg."""

    def advantages(group: tuple[Response, ...]) -> Rows:
        delta = [log_ratios(policy, reference, response) for response in group]
        mask = [[True] * len(row) for row in delta]
        reg = return_to_go(delta, mask, local, future)
        subtracted = baseline(delta, reg, mask)
        return [
            [reward(group[i]) - beta * (reg[i][t] - subtracted[i][t]) for t in range(len(reg[i]))]
            for i in range(len(group))
        ]

    return advantages


Generator = tuple[Callable[[Tensor], Tensor], ScalarFunction, ScalarFunction]

GENERATORS: dict[str, Generator] = {
    "reverse KL": (lambda u: -torch.log(u), lambda d: d, lambda d: d),
    "k3": (lambda u: -torch.log(u) + u - 1, lambda d: d, lambda d: math.exp(-d) + d - 1),
}


def bias_table(seed: int = 0, beta: float = 0.5, max_length: int = 3) -> dict[str, dict[str, float]]:
    """Relative bias of every variant, per generator, for one policy, one reference and a reward without symmetry."""
    policy = tiny_policy(seed, max_length)
    reference = tiny_policy(seed + 100, max_length, requires_grad=False)

    def reward(response: Response) -> float:
        return 0.3 * len(response) + sum((t + 1) * token for t, token in enumerate(response)) % 4

    table: dict[str, dict[str, float]] = {}
    for name, (f, local, future) in GENERATORS.items():
        for label, variant in regulariser_variants(local, future).items():
            weights = variant_weights(policy, reference, reward, beta, variant)
            bias = expected_gradient_bias(policy, reference, reward, beta, f, weights)
            table.setdefault(label, {})[name] = bias
        for label, baseline in group_baselines(future).items():
            advantages = group_advantages(policy, reference, reward, beta, local, future, baseline)
            bias = expected_group_bias(policy, reference, reward, beta, f, 2, advantages)
            table.setdefault(label, {})[name] = bias
    return table


def main() -> None:
    for label, row in bias_table().items():
        cells = [f"{name}: {bias:9.2e} {'exact' if bias < 1e-10 else 'BIASED'}" for name, bias in row.items()]
        print(f"{label:40s} " + "   ".join(cells))


if __name__ == "__main__":
    main()
