"""What FRPO logs in verl's own log line, and how it gets there.

The estimator runs where verl's metrics dict is out of reach, so it publishes into a slot of this process, and the
trainer's next metrics call collects it. Names are chosen with verl's V1 aggregator in mind, which picks the reduction
from substrings (`sum`, `min`, `max`, …): these all reduce by the sample-weighted mean.
"""

from torch import Tensor

from frpo_verl.masking import masked_mean, masked_std, zero_where_masked
from frpo_verl.verl_plugin.settings import Settings

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


def of_step(log_ratio: Tensor, future_term: Tensor, mask: Tensor, chosen: Settings) -> dict[str, float]:
    """The figures of one batch, over valid tokens only.

    - `frpo/beta`: β.
    - `frpo/divergence_to_ref/token_mean`: Σ m·future(δ) / Σ m, in nats; k1 of reverse KL by default.
    - `frpo/divergence_to_ref/sequence_mean`: mean over responses with a valid token of Σ_t m·future(δ), in nats.
    - `frpo/future_term/mean`, `frpo/future_term/std`: of reg_{i,t} over valid tokens, in nats, before β.

    Args:
        log_ratio: (bs, length), δ.
        future_term: (bs, length), reg.
        mask: (bs, length), True for valid tokens.
        chosen: the run's settings.

    Returns:
        Name to number.
    """
    divergence = zero_where_masked(chosen.generator.future(zero_where_masked(log_ratio, mask).float()), mask)
    responses = mask.any(-1).sum().clamp(min=1)
    return {
        "frpo/beta": chosen.beta,
        "frpo/divergence_to_ref/token_mean": masked_mean(divergence, mask).item(),
        "frpo/divergence_to_ref/sequence_mean": (divergence.sum() / responses).item(),
        "frpo/future_term/mean": masked_mean(future_term, mask).item(),
        "frpo/future_term/std": masked_std(future_term, mask).item(),
    }
