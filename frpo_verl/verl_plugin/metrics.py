"""What is logged in verl's own log line, and how it gets there.

The term is computed where verl's metrics dict is out of reach, so its figures go into a slot of this process, and the
trainer's next metrics call collects them; so does the note to the actor workers. Names are chosen with verl's V1
aggregator in mind, which picks the reduction from substrings (`sum`, `min`, `max`, …): these all reduce by the
sample-weighted mean. What the workers measure under the current policy is in `worker`.
"""

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


def of_batch(found: Diagnostics, beta: float) -> dict[str, float]:
    """Names the figures of a batch; all are over valid tokens.

    - `frpo/beta`: β.
    - `frpo/divergence_to_ref/token_mean`: Σ m·future(δ) / Σ m, in nats; k1 of reverse KL by default.
    - `frpo/divergence_to_ref/sequence_mean`: mean over responses with a valid token of Σ_t m·future(δ), in nats.
    - `frpo/future_term/mean`, `frpo/future_term/std`: of reg_{i,t}, in nats, before β.
    - `frpo/future_term/q05`, `q50`, `q95`: quantiles of reg, in nats; from a sample of at most 65,536 slots.
    - `frpo/future_term/profile/tenth_01` … `tenth_10`: mean of reg over the tokens of each tenth of their response, in
      nats; the first tenth is the start.
    - `frpo/future_term/variance_share`: Var(β·reg) / (Var(Â without it) + Var(β·reg)).
    - `frpo/sign_flip_share`: the share of tokens whose advantage changes sign by the term.
    - `frpo/sampled_entropy/token_mean`: −Σ m·log π_θ / Σ m, in nats: an estimate of the policy's entropy.

    Args:
        found: of the batch.
        beta: β.

    Returns:
        Name to number.
    """
    low, middle, high = found.quantiles
    return {
        "frpo/beta": beta,
        "frpo/divergence_to_ref/token_mean": found.divergence_per_token,
        "frpo/divergence_to_ref/sequence_mean": found.divergence_per_response,
        "frpo/future_term/mean": found.mean,
        "frpo/future_term/std": found.std,
        "frpo/future_term/q05": low,
        "frpo/future_term/q50": middle,
        "frpo/future_term/q95": high,
        **{f"frpo/future_term/profile/tenth_{n:02d}": value for n, value in enumerate(found.profile, start=1)},
        "frpo/future_term/variance_share": found.variance_share,
        "frpo/sign_flip_share": found.sign_flips,
        "frpo/sampled_entropy/token_mean": found.entropy,
    }


def of_tokens(
    log_prob: Tensor, ref_log_prob: Tensor, valid: Tensor, seen: Tensor, variant: Variant
) -> dict[str, float]:
    """Figures of single tokens, from a sample of slots.

    - `frpo/masked_nonfinite_share`: the share of masked slots, in responses with a valid token, whose log-ratio is not
      finite. They count nowhere; a valid token that is not finite ends the run.
    - `frpo/clipped_share`: the share of valid tokens with |δ| above `algorithm.frpo.token_clip`; only when it is set.

    Args:
        log_prob: (slots,), log π_θ of some slots.
        ref_log_prob: (slots,), log π_ref.
        valid: (slots,), True for valid tokens.
        seen: (slots,), True in responses with a valid token.
        variant: the run's variant.

    Returns:
        Name to number.
    """
    unseen = ~valid & seen
    delta = log_prob.float() - ref_log_prob.float()
    figures = {
        "frpo/masked_nonfinite_share": int((unseen & ~delta.isfinite()).sum()) / max(1, int(unseen.sum())),
    }
    if variant.token_clip is not None:
        clipped = int((valid & (delta.abs() > variant.token_clip)).sum())
        figures["frpo/clipped_share"] = clipped / max(1, int(valid.sum()))
    return figures
