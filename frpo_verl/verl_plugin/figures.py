"""The figures of verl's log line, and their formulas.

Names are chosen with verl's V1 aggregator in mind, which picks the reduction from substrings (`sum`, `min`, `max`, …):
these are all reduced by the sample-weighted mean. The figures of the current policy are made in `worker`.
"""

import math

import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import diagnose
from frpo_verl.advantage.diagnostics import Diagnostics
from frpo_verl.advantage.variant import Variant
from frpo_verl.preflight.settings import Settings
from frpo_verl.verl_plugin.term import Regularised

_SLOTS = 2**18
"""Of a larger batch, responses drawn at random, so many slots in all, stand for the rest in the costly figures."""


def of_batch(done: Regularised, batch: TensorDict, lengths: Tensor, chosen: Settings, beta: float) -> dict[str, float]:
    """Returns every figure of a step whose term was subtracted, by name."""
    mask = batch["response_mask"]
    # Not every n-th: rows stand in the order of their groups.
    chance = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(mask), generator=chance)[: max(1, _SLOTS // max(1, mask.shape[1]))]
    if len(rows) == len(mask):
        rows = slice(None)
    old, reference = batch["old_log_probs"][rows], batch["ref_log_prob"][rows]
    return {
        **of_step(done.sums, lengths, beta),
        **of_term(diagnose(done.before[rows], done.after[rows], mask[rows]), beta),
        **of_tokens(old, reference, mask[rows], chosen.variant),
    }


def of_step(sums: Tensor, lengths: Tensor, beta: float) -> dict[str, float]:
    """Returns β, the divergence to the reference and the size of the future term, over valid tokens only.

    - `frpo/beta`: β.
    - `frpo/divergence_to_ref/token_mean`: Σ m·future(δ) / Σ m, in nats; k1 of reverse KL by default.
    - `frpo/divergence_to_ref/sequence_mean`: mean over responses with a valid token of Σ_t m·future(δ), in nats.
    - `frpo/future_term/mean`, `frpo/future_term/std`: of reg_{i,t} over valid tokens, in nats, before β.

    `sums` are (bs, 3): of each response Σ future(δ), Σ reg and Σ reg²; `lengths` (bs,) its valid tokens.
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
    """Returns statistics of β·reg relative to the advantage before it.

    - `frpo/future_term/q05`, `q50`, `q95`: quantiles of reg over a sample of the valid tokens, in nats.
    - `frpo/future_term/profile/tenth_01` … `tenth_10`: mean of reg over the tokens of each tenth of their response, in
      nats; the first tenth is the start.
    - `frpo/future_term/variance_share`: Var(β·reg) / (Var(Â without it) + Var(β·reg)) over valid tokens.
    - `frpo/sign_flip_share`: the share of valid tokens whose advantage changes sign by the term.
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
    """Returns figures of single tokens.

    - `frpo/sampled_entropy/token_mean`: −Σ m·log π_θ / Σ m, in nats: an estimate of the policy's entropy.
    - `frpo/masked_nonfinite_share`: the share of masked slots, in responses with a valid token, whose log-ratio is not
      finite. They count nowhere; a valid token that is not finite ends the run.
    - `frpo/clipped_share`: the share of valid tokens with |δ| above `algorithm.frpo.token_clip`; only when it is set.
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
