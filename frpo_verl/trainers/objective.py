"""Is the loss function of verl's engines: they call it with the logits of a micro-batch, and then with log-probs.

verl's engines show a loss function the logits for one method, top-k distillation; two fields of the batch ask for that
(FIELDS). What the first call returns, a number for each position, verl gathers over sequence and context parallel
ranks, and gives to the second call as rows of their own length.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from frpo_verl.losses.coefficients import Coefficients, negatives_only, surrogate
from frpo_verl.losses.future_policy import future_policy, without_normaliser
from frpo_verl.losses.outcome import outcome
from frpo_verl.losses.pairwise import Pairs, dpo, rpo, simper
from frpo_verl.losses.responses import response_lengths, response_log_prob
from frpo_verl.trainers import figures
from frpo_verl.trainers.settings import Settings

FIELDS = {"distillation_use_topk": True, "distillation_only": True}
"""Fields of the batch: show the loss function the logits, and leave the log-probs to it."""


class Rows(NamedTuple):
    """Responses of a micro-batch, padded on the right; all (bs, length) but `advantages` (bs,).

    Attributes:
        mask: True for the tokens of the response, at the position that predicts them.
        advantages: A; of pairs, +1 for the better and −1 for the worse response.
        log_prob: log π_θ of the token that follows, with its gradient.
        ref_log_prob: log π_ref; None where the loss has no reference.
        future_log_prob: log π̂; None where λ = 0.
    """

    mask: Tensor
    advantages: Tensor
    log_prob: Tensor
    ref_log_prob: Tensor | None = None
    future_log_prob: Tensor | None = None


class Objective:
    """The loss of a micro-batch: the coefficient of each response times log π_θ, over the number in the whole batch.

    Args:
        settings: what `fpa.*` says.
        reference: a `reference.Reference`; None where the loss needs none.
    """

    def __init__(self, settings: Settings, reference: Any = None) -> None:
        self.settings, self.reference = settings, reference

    def __call__(
        self,
        model_output: dict | None = None,
        data: Any = None,
        dp_group: Any = None,
        student_logits: Tensor | None = None,
        data_format: str | None = None,
    ) -> Any:
        """Returns a number for each position where logits are given, else the loss and figures."""
        if student_logits is not None:
            return self._per_token(student_logits, data, data_format)
        rows = self._rows(model_output, data)
        coefficients = self.coefficients(rows)
        items, ranks = data["global_batch_size"], data["dp_size"]
        # float32: what Megatron's schedule multiplies and keeps
        loss = surrogate(coefficients, rows.log_prob, rows.mask).sum().float() * ranks / items
        return loss, figures.of_micro_batch(rows, coefficients, self.settings)

    def coefficients(self, rows: Rows) -> Coefficients:
        """Computes how strongly each response is raised and lowered, at π̂ or, with λ = 0, at π_θ."""
        mask, lengths = rows.mask, response_lengths(rows.mask)
        reference = None if rows.ref_log_prob is None else response_log_prob(rows.ref_log_prob, mask)
        pairs = Pairs(*(torch.arange(first, len(mask), 2, device=mask.device) for first in (0, 1)))

        def at(log_prob: Tensor) -> Coefficients:
            of_rows = response_log_prob(log_prob.detach(), mask)
            match self.settings.loss:
                case "outcome":
                    return outcome(of_rows, lengths, rows.advantages)
                case "dpo":
                    return dpo(of_rows, reference, pairs, self.settings.beta)
                case "rpo":
                    return rpo(of_rows, reference, lengths, pairs, self.settings.beta, self.settings.alpha)
                case "simper":
                    return simper(of_rows, lengths, pairs)

        if rows.future_log_prob is None:
            return at(rows.log_prob)
        if self.settings.weighted == "both":
            return at(rows.future_log_prob)
        return negatives_only(at(rows.log_prob), at(rows.future_log_prob))

    def _per_token(self, logits: Tensor, data: Any, data_format: str | None) -> dict[str, Tensor]:
        reference, labels = self.reference.logits_and_labels(data, data_format)
        width, shape = logits.shape[-1], logits.shape[:-1]
        found = future_policy(
            logits.reshape(-1, width),
            reference.reshape(-1, width),
            labels.reshape(-1),
            self.settings.lam if self.settings.is_over_the_vocabulary else 0.0,
            self.reference.part,
        )
        result = {"log_probs": found.log_prob, "ref_log_probs": found.ref_log_prob}
        if self.settings.is_over_the_vocabulary:
            result["future_log_probs"] = found.future_log_prob
        return {name: values.view(shape) for name, values in result.items()}

    def _rows(self, model_output: dict, data: Any) -> Rows:
        nested = {name: model_output.get(f"{name}s") for name in ("log_prob", "ref_log_prob", "future_log_prob")}
        if nested["ref_log_prob"] is None:
            # kept from an earlier pass, if at all
            nested["ref_log_prob"] = data.get("ref_log_probs", None)
        offsets = nested["log_prob"].offsets()
        # as in verl's sft_loss: the position before a token predicts it; a row's last predicts nothing, since the next
        # row starts with a prompt
        shifted = torch.roll(data["loss_mask"].values(), shifts=-1, dims=0)
        mask = _padded(shifted.to(torch.bool), offsets, False)
        padded = {name: None if rows is None else _padded(rows.values(), offsets, 0.0) for name, rows in nested.items()}
        if padded["future_log_prob"] is None and self.settings.lam > 0:
            padded["future_log_prob"] = without_normaliser(
                padded["log_prob"], padded["ref_log_prob"], self.settings.lam
            )
        return Rows(mask, data["advantages"].to(mask.device), **padded)


def _padded(values: Tensor, offsets: Tensor, padding: Any) -> Tensor:
    lengths = offsets.diff()
    longest = int(lengths.max())
    kept = torch.arange(longest, device=values.device) < lengths[:, None]
    result = torch.full(kept.shape, padding, dtype=values.dtype, device=values.device)
    return result.masked_scatter(kept, values)
