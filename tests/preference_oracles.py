"""FPA and its base methods as printed: the published losses for autograd, the future policy by loops over a vocabulary.

Responses are lists of log-probs, one per token. Nothing here is shared with the package.
"""

import math

import torch
from torch import Tensor

Row = list[float]


# ---- The future policy, one position (arXiv 2509.19893, version 1) ----


def log_softmax(logits: Row) -> Row:
    largest = max(logits)
    total = math.fsum(math.exp(logit - largest) for logit in logits)
    return [logit - largest - math.log(total) for logit in logits]


def future_log_policy(logits: Row, reference_logits: Row, strength: float) -> Row:
    """log softmax((1 + λ) h − λ h_ref)."""
    return log_softmax([(1 + strength) * h - strength * r for h, r in zip(logits, reference_logits, strict=True)])


def renyi_divergence(logits: Row, reference_logits: Row, order: float) -> float:
    """D_a(p ‖ q) = log(Σ p^a q^{1−a}) / (a − 1); at a = 1 its limit, Kullback and Leibler's."""
    log_p, log_q = log_softmax(logits), log_softmax(reference_logits)
    if order == 1:
        return math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))
    terms = [order * p + (1 - order) * q for p, q in zip(log_p, log_q, strict=True)]
    largest = max(terms)
    return (largest + math.log(math.fsum(math.exp(term - largest) for term in terms))) / (order - 1)


# ---- The published losses of one pair or response; tensors of log-probs per token ----


def dpo_loss(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float) -> Tensor:
    """−log σ(β log π(y_w)/π_ref(y_w) − β log π(y_l)/π_ref(y_l)) (arXiv 2305.18290, eq. 7)."""
    margin = beta * (chosen.sum() - ref_chosen.sum()) - beta * (rejected.sum() - ref_rejected.sum())
    return -torch.nn.functional.logsigmoid(margin)


def rpo_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float, alpha: float
) -> Tensor:
    """DPO − α log π(y_w) / |y_w| (arXiv 2404.19733, eq. 1)."""
    return dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta) - alpha * chosen.sum() / len(chosen)


def simper_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """−exp(mean log π(y_w)) + exp(mean log π(y_l)) (arXiv 2502.00883)."""
    return -torch.exp(chosen.mean()) + torch.exp(rejected.mean())


def outcome_loss(response: Tensor, advantage: float) -> Tensor:
    """−A π(y)^{1/|y|}, the negative of vanilla offline RL's objective."""
    return -advantage * response.exp().prod() ** (1 / len(response))
