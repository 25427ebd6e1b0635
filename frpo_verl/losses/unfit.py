"""Refuses in one sentence what the future policy and its losses cannot be computed from."""

import math
import numbers

from torch import Tensor

from frpo_verl.checks import InvalidInput, integers
from frpo_verl.losses.vocabulary import Part


def refuse_strength(strength: float) -> None:
    """Refuses a λ that is not a finite number, or negative, which would look back."""
    if not isinstance(strength, numbers.Real) or not math.isfinite(strength) or strength < 0:
        raise InvalidInput(
            f"lambda is {strength!r}: it must be a finite number that is not negative, for instance 1; 0 is the base "
            "method"
        )


def refuse_logits(logits: Tensor, reference_logits: Tensor, labels: Tensor, part: Part) -> None:
    """Refuses logits of two vocabularies or of other tokens, and labels that are no columns of theirs."""
    for name, tensor in (("logits", logits), ("reference_logits", reference_logits)):
        if tensor.dim() != 2 or not tensor.is_floating_point():
            raise InvalidInput(
                f"{name} are {tensor.dtype} of shape {tuple(tensor.shape)}: they must be floating, (tokens, vocabulary)"
            )
    if logits.shape[1] != reference_logits.shape[1]:
        raise InvalidInput(
            f"the policy has {logits.shape[1]} columns of logits and the reference {reference_logits.shape[1]}: both "
            "must have one vocabulary; take a reference with the policy's tokenizer and head"
        )
    integers("labels", labels)
    if not (labels.dim() == 1 and len(logits) == len(reference_logits) == len(labels)):
        raise InvalidInput(
            f"logits have shape {tuple(logits.shape)}, reference_logits {tuple(reference_logits.shape)} and labels "
            f"{tuple(labels.shape)}: all must be of the same tokens"
        )
    size = logits.shape[1] * part.count
    if len(labels) and not 0 <= int(labels.amin()) <= int(labels.amax()) < size:
        token = int(((labels < 0) | (labels >= size)).nonzero()[0])
        raise InvalidInput(
            f"the label of token {token} is {int(labels[token])}, and the vocabulary has {size} entries: tokenize with "
            "the policy's tokenizer, and put any of its tokens where none is meant"
        )


def refuse_pairs(chosen: Tensor, rejected: Tensor, rows: int) -> None:
    """Refuses pairs that are not two different rows of the batch each."""
    integers("chosen", chosen)
    integers("rejected", rejected)
    if chosen.dim() != 1 or chosen.shape != rejected.shape:
        raise InvalidInput(
            f"chosen has shape {tuple(chosen.shape)} and rejected {tuple(rejected.shape)}: both must be (pairs,)"
        )
    unfit = (chosen < 0) | (chosen >= rows) | (rejected < 0) | (rejected >= rows) | (chosen == rejected)
    if unfit.any():
        pair = int(unfit.nonzero()[0])
        raise InvalidInput(
            f"pair {pair} is made of rows {int(chosen[pair])} and {int(rejected[pair])}: it must be two different rows "
            f"of the {rows} of the batch"
        )


def refuse_lengths(lengths: Tensor, rows: int) -> None:
    """Refuses anything but a count of tokens, 1 or more, for each response."""
    integers("lengths", lengths)
    if lengths.shape != (rows,):
        raise InvalidInput(
            f"lengths has shape {tuple(lengths.shape)}: it must hold one count, 1 or more, for each of the {rows} "
            "responses"
        )
    if (lengths < 1).any():
        row = int((lengths < 1).nonzero()[0])
        raise InvalidInput(
            f"lengths of response {row} is {int(lengths[row])}: it must be 1 or more, see response_lengths"
        )


def refuse_rows(**tensors: Tensor) -> None:
    """Refuses values that are not floating, one finite number for each response, of the same responses."""
    first = next(iter(tensors))
    for name, tensor in tensors.items():
        if tensor.dim() != 1 or not tensor.is_floating_point() or len(tensor) != len(tensors[first]):
            raise InvalidInput(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}: it must hold one floating number for each "
                f"of the {len(tensors[first])} responses of {first}"
            )
        if not tensor.isfinite().all():
            row = int((~tensor.isfinite()).nonzero()[0])
            raise InvalidInput(f"{name} of response {row} is {tensor[row].item():g}: it must be finite")
