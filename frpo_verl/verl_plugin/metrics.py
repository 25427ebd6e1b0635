"""What is logged in verl's own log line, and how it gets there.

The term is computed where verl's metrics dict is out of reach, so its figures go into a slot of this process, and the
trainer's next metrics call collects them; so does the note to the actor workers. Names are chosen with verl's V1
aggregator in mind, which picks the reduction from substrings (`sum`, `min`, `max`, …): these all reduce by the
sample-weighted mean. What the workers measure under the current policy is in `worker`.
"""

import math

from torch import Tensor

from frpo_verl.advantage.diagnostics import Diagnostics
from frpo_verl.advantage.variant import Variant

_published: dict[str, float] = {}
_note: str | None = None


def publish(values: dict[str, float], note: str | None = None) -> None:
    """Leaves the figures of one advantage computation for the trainer.

    Args:
        values: name to number; they replace those not yet collected.
        note: what the actor workers are told with this batch.
    """
    global _note
    _published.clear()
    _published.update(values)
    _note = note


def collect() -> dict[str, float]:
    """Takes what was published, once.

    Returns:
        The figures since the last call; empty when there are none.
    """
    values = dict(_published)
    _published.clear()
    return values


def collect_note() -> str | None:
    """Takes the note of the last batch, once.

    Returns:
        The note, or None.
    """
    global _note
    note, _note = _note, None
    return note


def of_step(sums: Tensor, lengths: Tensor, beta: float) -> dict[str, float]:
    """β, the divergence to the reference and the size of the future term, over valid tokens only.

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


def of_term(found: Diagnostics, beta: float) -> dict[str, float]:
    """What the term does to the advantages.

    - `frpo/future_term/q05`, `q50`, `q95`: quantiles of reg over valid tokens, in nats; from a sample of 65,536 tokens.
    - `frpo/future_term/profile/tenth_01` … `tenth_10`: mean of reg over the tokens of each tenth of their response, in
      nats; the first tenth is the start.
    - `frpo/future_term/variance_share`: Var(β·reg) / (Var(Â without it) + Var(β·reg)) over valid tokens.
    - `frpo/sign_flip_share`: the share of valid tokens whose advantage changes sign by the term.

    Args:
        found: of the advantages before and after.
        beta: β, not 0.

    Returns:
        Name to number.
    """
    low, middle, high = found.quantiles
    return {
        "frpo/future_term/q05": low / beta,
        "frpo/future_term/q50": middle / beta,
        "frpo/future_term/q95": high / beta,
        **{f"frpo/future_term/profile/tenth_{n:02d}": value / beta for n, value in enumerate(found.profile, start=1)},
        "frpo/future_term/variance_share": found.variance_share,
        "frpo/sign_flip_share": found.sign_flips,
    }


def of_tokens(log_prob: Tensor, ref_log_prob: Tensor, response_mask: Tensor, variant: Variant) -> dict[str, float]:
    """Figures of single tokens.

    - `frpo/sampled_entropy/token_mean`: −Σ m·log π_θ / Σ m, in nats: an estimate of the policy's entropy.
    - `frpo/masked_nonfinite_share`: the share of masked slots, in responses with a valid token, whose log-ratio is not
      finite. They count nowhere; a valid token that is not finite ends the run.
    - `frpo/clipped_share`: the share of valid tokens with |δ| above `algorithm.frpo.token_clip`; only when it is set.

    Args:
        log_prob: (bs, length), log π_θ.
        ref_log_prob: (bs, length), log π_ref.
        response_mask: (bs, length), nonzero for valid tokens.
        variant: the run's variant.

    Returns:
        Name to number.
    """
    valid = response_mask.bool()
    unseen = ~valid & valid.any(-1, keepdim=True)
    delta = log_prob.float() - ref_log_prob.float()
    tokens = max(1, int(valid.sum()))
    figures = {
        "frpo/sampled_entropy/token_mean": -log_prob[valid].double().sum().item() / tokens,
        "frpo/masked_nonfinite_share": int((unseen & ~delta.isfinite()).sum()) / max(1, int(unseen.sum())),
    }
    if variant.token_clip is not None:
        figures["frpo/clipped_share"] = int((valid & (delta.abs() > variant.token_clip)).sum()) / tokens
    return figures
