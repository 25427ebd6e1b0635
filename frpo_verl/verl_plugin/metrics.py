"""What FRPO logs in verl's own log line, and how it gets there.

The estimator runs where verl's metrics dict is out of reach, so it publishes into a slot of this process, and the
trainer's next metrics call collects it. Names are chosen with verl's V1 aggregator in mind, which picks the reduction
from substrings (`sum`, `min`, `max`, …): these all reduce by the sample-weighted mean.
"""

import math

from torch import Tensor

_published: dict[str, float] = {}


def publish(values: dict[str, float]) -> None:
    """Leaves the figures of one advantage computation for the trainer.

    Args:
        values: name to number; they replace those not yet collected.
    """
    _published.clear()
    _published.update(values)


def collect() -> dict[str, float]:
    """Takes what was published, once.

    Returns:
        The figures since the last call; empty when there are none.
    """
    values = dict(_published)
    _published.clear()
    return values


def of_step(sums: Tensor, lengths: Tensor, beta: float) -> dict[str, float]:
    """The figures of one batch, over valid tokens only.

    - `frpo/beta`: β.
    - `frpo/divergence_to_ref/token_mean`: Σ m·future(δ) / Σ m, in nats; k1 of reverse KL by default.
    - `frpo/divergence_to_ref/sequence_mean`: mean over responses with a valid token of Σ_t m·future(δ), in nats.
    - `frpo/future_term/mean`, `frpo/future_term/std`: of reg_{i,t} over valid tokens, in nats, before β.

    Args:
        sums: (bs, 3), float64: of each response Σ future(δ), Σ reg and Σ reg².
        lengths: (bs,), the valid tokens of each response.
        beta: β.

    Returns:
        Name to number.
    """
    tokens, responses = max(1, int(lengths.sum())), max(1, int((lengths > 0).sum()))
    divergence, term, square = sums.sum(0).tolist()
    mean = term / tokens
    return {
        "frpo/beta": beta,
        "frpo/divergence_to_ref/token_mean": divergence / tokens,
        "frpo/divergence_to_ref/sequence_mean": divergence / responses,
        "frpo/future_term/mean": mean,
        "frpo/future_term/std": math.sqrt(max(0.0, square / tokens - mean**2)),
    }
