"""Slow oracles for FRPO (arXiv 2601.10201), written from the definitions: loops, float64, no code of this package.

Everything exact rests on `TinyPolicy`, small enough to sum over every response. The helpers for tests are

    expected_group_gradient(policy, G, advantages)       any per-token advantage, averaged over all ordered groups
    score_function_gradient(policy, weights)             any per-token weight, averaged over all responses
    torch.autograd.grad(objective(...), policy.logits)   what the two have to equal, without any theorem
"""

import itertools
import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Response = tuple[int, ...]
Reward = Callable[[Response], float]
ScalarFunction = Callable[[float], float]
Weights = Callable[[Response], Sequence[float]]

VOCABULARY = (0, 1, 2)
END = 2


# ---- Advantages, from their definitions ----


def group_normalised(scores: list[float], groups: list[Hashable], epsilon: float) -> list[float]:
    """GRPO's outcome advantage as verl computes it: (r - mean) / (std + epsilon) inside each group.

    std is the sample form (divisor n - 1). A group of one has mean 0 and std 1, so that its score passes through,
    divided by 1 + epsilon. (verl rounds that 1 + epsilon to float32 even for float64 scores: up to 6e-8 relative.)
    """
    advantages = []
    for score, group in zip(scores, groups, strict=True):
        members = [other for other, name in zip(scores, groups, strict=True) if name == group]
        mean, std = 0.0, 1.0
        if len(members) > 1:
            mean = sum(members) / len(members)
            std = math.sqrt(sum((member - mean) ** 2 for member in members) / (len(members) - 1))
        advantages.append((score - mean) / (std + epsilon))
    return advantages


def population_normalised(scores: list[float]) -> list[float]:
    """One group as Algorithm 1 prints it: (r - mean) / std, divisor n, no epsilon; 0 where all scores are equal."""
    mean = sum(scores) / len(scores)
    std = math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))
    return [0.0 if std == 0.0 else (score - mean) / std for score in scores]


def reverse_kl_return_to_go(delta: list[list[float]], mask: list[list[bool]]) -> list[list[float]]:
    """Eq. 4.5 and 5.1: the sum over j >= t of m_j delta_j; 0 in a masked slot, which the sum steps over."""
    rows = []
    for row, valid in zip(delta, mask, strict=True):
        result = [0.0] * len(row)
        for t in range(len(row)):
            for j in range(t, len(row)):
                # Skipped, not multiplied by zero: a masked slot may hold NaN.
                if valid[t] and valid[j]:
                    result[t] += row[j]
        rows.append(result)
    return rows


def return_to_go(
    delta: list[list[float]], mask: list[list[bool]], local: ScalarFunction, future: ScalarFunction
) -> list[list[float]]:
    """Theorem 4.1's reg_t = local(delta_t) + sum over j > t of future(delta_j), over unmasked slots.

    With u = exp(-delta): local is f(u) - f'(u) u and future is f(u).
    """
    rows = []
    for row, valid in zip(delta, mask, strict=True):
        result = [0.0] * len(row)
        for t in range(len(row)):
            if not valid[t]:
                continue
            result[t] = local(row[t])
            for j in range(t + 1, len(row)):
                if valid[j]:
                    result[t] += future(row[j])
        rows.append(result)
    return rows


def frpo(
    scores: list[float],
    groups: list[Hashable],
    delta: list[list[float]],
    mask: list[list[bool]],
    beta: float,
    epsilon: float,
) -> list[list[float]]:
    """Eq. 5.1: A_grpo - beta * (sum over j >= t of m_j delta_j), and 0 in masked slots as verl's grpo has it."""
    advantages = group_normalised(scores, groups, epsilon)
    penalty = reverse_kl_return_to_go(delta, mask)
    return [
        [advantages[i] - beta * penalty[i][t] if mask[i][t] else 0.0 for t in range(len(mask[i]))]
        for i in range(len(mask))
    ]


# ---- A policy that can be enumerated ----


def unfinished_prefixes(max_length: int) -> list[Response]:
    """Every prefix at which a token is still to be drawn, shortest first."""
    tokens = [token for token in VOCABULARY if token != END]
    return [prefix for length in range(max_length) for prefix in itertools.product(tokens, repeat=length)]


@dataclass
class TinyPolicy:
    """Autoregressive softmax policy with its own row of logits for every prefix.

    A response is complete after the END token, or at max_length tokens whatever the last one is.
    """

    logits: Tensor  # row i belongs to unfinished_prefixes(max_length)[i]
    max_length: int

    def row(self, prefix: Response) -> int:
        return unfinished_prefixes(self.max_length).index(prefix)

    def log_probs(self, response: Response) -> Tensor:
        """log pi(a_t | a_<t) for every token of the response."""
        tokens = []
        for t, token in enumerate(response):
            row = self.logits[self.row(response[:t])]
            tokens.append(row[token] - torch.log(torch.exp(row).sum()))
        return torch.stack(tokens)

    def responses(self) -> list[tuple[Response, Tensor]]:
        """All complete responses, each with its probability (differentiable)."""
        complete = []
        for prefix in unfinished_prefixes(self.max_length):
            for token in VOCABULARY:
                response = (*prefix, token)
                if token == END or len(response) == self.max_length:
                    complete.append((response, torch.exp(self.log_probs(response).sum())))
        return complete


def tiny_policy(seed: int, max_length: int = 3, requires_grad: bool = True) -> TinyPolicy:
    """Logits uniform in [-1, 1] from Python's own generator, so that they are the same with every torch."""
    generator = random.Random(seed)
    rows = [[generator.uniform(-1.0, 1.0) for _ in VOCABULARY] for _ in unfinished_prefixes(max_length)]
    return TinyPolicy(torch.tensor(rows, dtype=torch.float64, requires_grad=requires_grad), max_length)


def log_ratios(policy: TinyPolicy, reference: TinyPolicy, response: Response) -> list[float]:
    """delta_t = log pi_theta(a_t | s_t) - log pi_ref(a_t | s_t)."""
    return (policy.log_probs(response) - reference.log_probs(response)).tolist()


def expected_reward(policy: TinyPolicy, reward: Reward) -> Tensor:
    """E_a r(a), differentiable."""
    return sum((p * reward(response) for response, p in policy.responses()), torch.zeros((), dtype=torch.float64))


def expected_divergence(policy: TinyPolicy, reference: TinyPolicy, f: Callable[[Tensor], Tensor]) -> Tensor:
    """E_a of the sum over t of f(u_t), u_t = pi_ref / pi_theta, a drawn from pi_theta; differentiable."""
    total = torch.zeros((), dtype=torch.float64)
    for response, p in policy.responses():
        u = torch.exp(reference.log_probs(response).detach() - policy.log_probs(response))
        total = total + p * f(u).sum()
    return total


def objective(
    policy: TinyPolicy,
    reference: TinyPolicy,
    reward: Reward,
    beta: float,
    f: Callable[[Tensor], Tensor],
    utility: Callable[[Tensor], Tensor] = lambda p: p,
) -> Tensor:
    """Eq. 4.1: utility(E_a r) - beta * E_a sum_t f(u_t). Autograd of this needs no theorem of the paper."""
    return utility(expected_reward(policy, reward)) - beta * expected_divergence(policy, reference, f)


# ---- Expected gradients of estimators ----


def weighted_score(policy: TinyPolicy, response: Response, weights: Sequence[float]) -> Tensor:
    """Sum over t of w_t * grad log pi(a_t | s_t), shaped like policy.logits.

    By hand, d log pi(a | s) / d logit_v = 1[v = a] - pi(v | s), so that nothing here leans on autograd.
    """
    gradient = torch.zeros_like(policy.logits, requires_grad=False)
    for t, token in enumerate(response):
        row = policy.row(response[:t])
        exponentials = [math.exp(logit) for logit in policy.logits[row].tolist()]
        for v in VOCABULARY:
            gradient[row, v] += weights[t] * ((v == token) - exponentials[v] / sum(exponentials))
    return gradient


def score_function_gradient(policy: TinyPolicy, weights: Weights) -> Tensor:
    """Sum over a of p(a) * sum over t of w_t(a) * grad log pi(a_t | s_t): the estimator's exact expectation."""
    gradient = torch.zeros_like(policy.logits, requires_grad=False)
    for response, p in policy.responses():
        gradient += p.item() * weighted_score(policy, response, weights(response))
    return gradient


def theorem_weights(
    policy: TinyPolicy,
    reference: TinyPolicy,
    reward: Reward,
    beta: float,
    local: ScalarFunction,
    future: ScalarFunction,
) -> Weights:
    """Theorem 4.1: w_t = r - beta * reg_t, with utility = identity and no baseline."""

    def weights(response: Response) -> list[float]:
        delta = log_ratios(policy, reference, response)
        regularisers = return_to_go([delta], [[True] * len(delta)], local, future)[0]
        return [reward(response) - beta * regulariser for regulariser in regularisers]

    return weights


def loss_side_gradient(
    policy: TinyPolicy, reference: TinyPolicy, reward: Reward, beta: float, f: Callable[[Tensor], Tensor]
) -> Tensor:
    """Exact expected gradient of the usual surrogate, r * log pi - beta * sum_t f(u_t), on fixed samples (Prop. 4.3).

    The penalty is differentiated where it stands, so that only -f'(u_t) u_t * grad log pi(a_t | s_t) survives:
    for f = -log u (k1) the factor is the constant 1 and the expected regulariser gradient is exactly zero; for
    f = -log u + u - 1 (k3) it is 1 - u, the gradient of KL(ref || policy) with the distribution of prefixes held fixed.
    """
    surrogate = torch.zeros((), dtype=torch.float64)
    for response, p in policy.responses():
        log_probs = policy.log_probs(response)
        u = torch.exp(reference.log_probs(response).detach() - log_probs)
        surrogate = surrogate + p.detach() * (reward(response) * log_probs.sum() - beta * f(u).sum())
    return torch.autograd.grad(surrogate, policy.logits)[0]


def expected_group_gradient(
    policy: TinyPolicy, group_size: int, advantages: Callable[[tuple[Response, ...]], list[list[float]]]
) -> Tensor:
    """Exact expectation of (1/G) sum_i sum_t A_it * grad log pi(a_it | s_it) over all ordered groups of size G.

    `advantages` maps a group of responses to one row of per-token values for each (longer rows are cut).
    """
    gradient = torch.zeros_like(policy.logits, requires_grad=False)
    enumerated = [(response, p.item()) for response, p in policy.responses()]
    for group in itertools.product(enumerated, repeat=group_size):
        probability = math.prod(p for _, p in group)
        rows = advantages(tuple(response for response, _ in group))
        for (response, _), row in zip(group, rows, strict=True):
            gradient += probability / group_size * weighted_score(policy, response, row)
    return gradient


# ---- Proposition 3.1 ----


def population_statistics_gradient(policy: TinyPolicy, reward: Reward) -> Tensor:
    """E[(r - E r) / sd(r) * grad log pi] with the distribution's own mean and deviation, as Prop. 3.1 assumes.

    For a binary reward this is exactly grad 2 arcsin(sqrt(p)): it is grad p / sqrt(p (1 - p)).
    """
    enumerated = [(reward(response), p.item()) for response, p in policy.responses()]
    mean = sum(p * value for value, p in enumerated)
    deviation = math.sqrt(sum(p * (value - mean) ** 2 for value, p in enumerated))
    return score_function_gradient(policy, lambda response: [(reward(response) - mean) / deviation] * len(response))


def group_utility_slope(p: float, group_size: int) -> float:
    """The l'(p) that a group of finite size G really has: binary reward, statistics of the group, no epsilon.

    With k ~ Binomial(G, p) successes and s_k = sqrt(k/G (1 - k/G)), a success has advantage (1 - k/G) / s_k and a
    failure -(k/G) / s_k, while E[grad log pi | r = 1] = grad p / p and E[grad log pi | r = 0] = -grad p / (1 - p). So

        E[A grad log pi] = l'_G(p) grad p,    l'_G(p) = E[s_k] / (p (1 - p)).

    The direction of Prop. 3.1 is exact for every G; its arcsine is the limit G -> infinity, s_k -> sqrt(p (1 - p)).
    With q = 1 - p the exact slopes are 1 (G = 2), sqrt(2) (G = 3), sqrt(3) + (3 - 2 sqrt(3)) p q (G = 4) and
    2 - (6 - 2 sqrt(6)) p q (G = 5): for G = 2 and 3 the hidden utility is p itself, up to a factor. At p -> 0 or 1 the
    slope is sqrt(G - 1), not infinity. At p = 1/2 the arcsine's slope is 2; G = 2, 3, 4, 5, 8, 16, 64 have 1, 1.4142,
    1.6160, 1.7247, 1.8557, 1.9341, 1.9842. The sample deviation (verl) multiplies all of them by sqrt((G - 1) / G).
    """
    expected_deviation = 0.0
    for k in range(group_size + 1):
        binomial = math.comb(group_size, k) * p**k * (1 - p) ** (group_size - k)
        expected_deviation += binomial * math.sqrt(k / group_size * (1 - k / group_size))
    return expected_deviation / (p * (1 - p))
