"""Computes the figures of verl's log line; all are over valid tokens.

Names are chosen with verl's V1 aggregator in mind, which picks the reduction from substrings (`sum`, `min`, `max`, …):
these are all reduced by the sample-weighted mean. The figures of the current policy are made in `worker`.
"""

from typing import Any

from torch import Tensor

from frpo_verl.advantage import Fit, RegularisedBatch, TreeFigures, diagnose, sample_slots
from frpo_verl.advantage.diagnostics import Diagnostics, is_coarse
from frpo_verl.advantage.variant import Variant
from frpo_verl.advantage.weights import COLUMNS
from frpo_verl.preflight.settings import Settings
from frpo_verl.verl_plugin import sampled, term


def of_step(done: RegularisedBatch, before: Tensor, data: Any, chosen: Settings, beta: float) -> dict[str, float]:
    """Returns every figure of a step whose term was subtracted, by name; `before` is what it was subtracted from."""
    batch, mask = data.batch, sampled.mask_of(data.batch)
    reg = term.to_go(data, chosen) if is_coarse(done, beta) else None
    slots = sample_slots(*mask.shape).to(mask.device)
    old, reference, valid = (part.reshape(-1)[slots] for part in (batch["old_log_probs"], batch["ref_log_prob"], mask))
    seen = done.sums.tokens[slots // mask.shape[1]] > 0
    of_slots = of_tokens(old, reference, valid.bool(), seen, chosen.variant)
    of_fit = {} if done.baseline is None else of_baseline(done.baseline, chosen.variant)
    return of_batch(diagnose(done, before, mask, beta, reg), beta) | of_slots | of_fit


def of_batch(found: Diagnostics, beta: float) -> dict[str, float]:
    """Returns the figures of a whole batch.

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
    """Returns figures of single tokens, (slots,) each, a sample of at most 65,536; `seen`: in a response with a token.

    - `frpo/masked_nonfinite_share`: the share of masked slots, in responses with a valid token, whose log-ratio is not
      finite. They count nowhere; a valid token that is not finite ends the run.
    - `frpo/clipped_share`: the share of valid tokens with |δ| above `algorithm.frpo.token_clip`; only when it is set.
    """
    unseen = ~valid & seen
    delta = log_prob.float() - ref_log_prob.float()
    share = int((unseen & ~delta.isfinite()).sum()) / max(1, int(unseen.sum()))
    figures = {"frpo/masked_nonfinite_share": share}
    if variant.token_clip is not None:
        clipped = int((valid & (delta.abs() > variant.token_clip)).sum())
        figures["frpo/clipped_share"] = clipped / max(1, int(valid.sum()))
    return figures


def of_baseline(fit: Fit, variant: Variant) -> dict[str, float]:
    """Returns the figures of a baseline of the whole weight w = Â − β·reg.

    - `frpo/baseline_r2`: 1 − Σ(w − z·θ)² / Σw², out of fold; a negative one says that the baseline does harm.
    - `frpo/baseline/constant`, `position`, `others_to_go`, `others_sequence`, `own_past`: θ, the mean of the groups';
      with `baseline=fitted` alone, since the other has (0, 0, −β, 0, 0).
    """
    fitted = zip(COLUMNS, fit.coefficients.tolist(), strict=True) if variant.baseline == "fitted" else ()
    return {"frpo/baseline_r2": fit.r2, **{f"frpo/baseline/{name}": value for name, value in fitted}}


def of_sets(found: TreeFigures) -> dict[str, float]:
    """Returns the figures of a batch with token weights; responses without a valid token count nowhere.

    - `frpo/token_weight/mean`: Σ m/|λ| / Σ m, whatever the method makes of it.
    - `frpo/token_weight/shared_token_share`: Σ m·[|λ| > 1] / Σ m, the share of tokens in shared prefixes.
    - `frpo/token_weight/flat_group_share`: the share of groups in which no token is shared, of those with two responses
      or more.
    - `frpo/token_weight/duplicate_response_share`: the share of responses that are equal to another of their group.
    """
    return {
        "frpo/token_weight/mean": found.mean_weight,
        "frpo/token_weight/shared_token_share": found.shared_tokens,
        "frpo/token_weight/flat_group_share": found.flat_groups,
        "frpo/token_weight/duplicate_response_share": found.duplicate_responses,
    }
