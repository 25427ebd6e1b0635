"""Computes what is logged of a step: means over the whole batch, of which each micro-batch and rank sees a part."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from frpo_verl.losses.coefficients import Coefficients
from frpo_verl.losses.responses import response_log_prob
from frpo_verl.trainers.settings import Settings

if TYPE_CHECKING:
    from frpo_verl.trainers.objective import Rows

SUM, COUNT = "/sum", "/count"
"""Endings of the two parts of a mean on their way from a micro-batch to the step."""


def of_micro_batch(rows: "Rows", coefficients: Coefficients, settings: Settings) -> dict[str, Any]:
    """Computes the sums and counts of every figure, as verl's metrics.

    Args:
        rows: the responses.
        coefficients: how strongly each is raised and lowered.
        settings: what `fpa.*` says.

    Returns:
        Name -> verl's Metric; `means` makes the figures of them.
    """
    from verl.utils.metric import AggregationType, Metric

    parts: dict[str, float] = {}
    for name, (values, where) in _figures(rows, coefficients, settings).items():
        selected = torch.where(where, values.detach(), 0.0)
        parts[name + SUM], parts[name + COUNT] = float(selected.sum(dtype=torch.float64)), float(where.sum())
    return Metric.from_dict(parts, AggregationType.SUM)


def means(metrics: dict[str, Any]) -> dict[str, Any]:
    """Makes figures of the sums and counts of all micro-batches and ranks; a mean over nothing is left out.

    Args:
        metrics: what verl's worker gathered: a list with a Metric of each rank, or anything else.

    Returns:
        The figures, and whatever else was there.
    """
    reduced = {name: _over_ranks(value) for name, value in metrics.items()}
    names = [name.removesuffix(COUNT) for name in reduced if name.endswith(COUNT)]
    figures = {name: float(reduced[name + SUM] / reduced[name + COUNT]) for name in names if reduced[name + COUNT]}
    return {name: value for name, value in reduced.items() if not name.endswith((SUM, COUNT))} | figures


def _over_ranks(value: Any) -> Any:
    from verl.utils.metric import Metric

    # a list of one of each rank; the engine of a single rank may have no group to gather over
    of_ranks = value if isinstance(value, list) else [value]
    return Metric.aggregate_dp(of_ranks) if isinstance(of_ranks[0], Metric) else value


def _figures(rows: "Rows", coefficients: Coefficients, settings: Settings) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns the values of each figure, and where they count."""
    better = (rows.advantages > 0)[:, None] & rows.mask
    worse = (rows.advantages < 0)[:, None] & rows.mask
    found = {
        "fpa/coefficient/up": (coefficients.up, rows.advantages > 0),
        "fpa/coefficient/down": (coefficients.down, rows.advantages < 0),
    }
    for side, where in (("better", better), ("worse", worse)):
        found[f"fpa/log_prob/{side}"] = (rows.log_prob, where)
        if rows.ref_log_prob is not None:
            found[f"fpa/drift/{side}"] = (rows.log_prob - rows.ref_log_prob, where)
        if rows.future_log_prob is not None:
            found[f"fpa/ahead/{side}"] = (rows.future_log_prob - rows.log_prob, where)
    if rows.future_log_prob is not None and settings.future == "exact":
        bound = rows.log_prob + settings.lam * (rows.log_prob - rows.ref_log_prob)
        found["fpa/renyi_divergence_to_ref"] = ((bound - rows.future_log_prob) / settings.lam, rows.mask)
    if settings.is_pairwise:
        score = _score(rows, settings)
        margin = score[0::2] - score[1::2]
        found["fpa/margin"] = (margin, torch.ones_like(margin, dtype=torch.bool))
        found["fpa/accuracy"] = ((margin > 0).double(), torch.ones_like(margin, dtype=torch.bool))
    return found


def _score(rows: "Rows", settings: Settings) -> Tensor:
    """Returns what a pairwise method compares under π_θ: β·log π_θ(y)/π_ref(y), or SimPER's log π_θ(y) / |y|."""
    log_prob = response_log_prob(rows.log_prob.detach(), rows.mask)
    if settings.loss == "simper":
        return log_prob / rows.mask.sum(-1).clamp(min=1)
    return settings.beta * (log_prob - response_log_prob(rows.ref_log_prob, rows.mask))
