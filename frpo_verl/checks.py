"""Refusals: one sentence with what, the value, the fix, before anything is computed with it."""

import math
import numbers
from typing import Any

import torch
from torch import Tensor


class InvalidInput(ValueError):
    """Tensors or numbers that no advantage can be computed from."""


class NonFiniteToken(InvalidInput):
    """A valid token whose value is NaN or infinite; the arguments are kept as attributes.

    Args:
        name: what the values are called.
        sample: the row of the first one.
        token: its position in the row.
        count: how many there are.
        value: what stands there.
    """

    def __init__(self, name: str, sample: int, token: int, count: int, value: float) -> None:
        self.name, self.sample, self.token, self.count, self.value = name, sample, token, count, value
        super().__init__(
            f"{name} of sample {sample} at token {token} is {value:g} although response_mask counts it, the first of "
            f"{count}: recompute that sample's log-probs, or mask the token out"
        )


def token_tensors(response_mask: Tensor, **tensors: Tensor) -> None:
    """Refuses values per token that do not fit the mask.

    Args:
        response_mask: (bs, length), padded or jagged, of any real dtype; nonzero marks the valid tokens.
        **tensors: floating tensors that must have the mask's shape, layout and device, by name.

    Raises:
        InvalidInput: which one does not fit, and how.
    """
    _is_tensor("response_mask", response_mask)
    if response_mask.dim() != 2:
        raise InvalidInput(f"response_mask has shape {tuple(response_mask.shape)}: it must be (batch, tokens)")
    if response_mask.is_complex():
        raise InvalidInput(f"response_mask is {response_mask.dtype}: it must be boolean, or a number that is 0 or 1")
    for name, tensor in tensors.items():
        _is_tensor(name, tensor)
        if not tensor.is_floating_point():
            raise InvalidInput(f"{name} is {tensor.dtype}: it must be a floating dtype, for instance torch.float32")
        _same_layout(name, tensor, response_mask)


def padded_tensors(response_mask: Tensor, **tensors: Tensor) -> None:
    """Refuses what `token_tensors` refuses, jagged tensors, and NaN or infinity in valid slots.

    Args:
        response_mask: (bs, length), padded; nonzero marks the valid tokens.
        **tensors: floating tensors of the mask's shape and device, by name.

    Raises:
        InvalidInput: which one does not fit, and how.
    """
    token_tensors(response_mask, **tensors)
    padded(response_mask)
    for name, tensor in tensors.items():
        tokens_are_finite(tensor, response_mask, name)


def padded(response_mask: Tensor) -> None:
    """Refuses a jagged batch.

    Args:
        response_mask: (bs, length).

    Raises:
        InvalidInput: it is jagged.
    """
    if response_mask.is_nested:
        raise InvalidInput(
            "response_mask is jagged: this function takes padded tensors, see torch.nested.to_padded_tensor"
        )


def row_tensor(name: str, tensor: Tensor, response_mask: Tensor) -> None:
    """Refuses values per response that do not fit the mask.

    Args:
        name: what the tensor is called.
        tensor: must be (bs,) and, where it is floating, finite.
        response_mask: (bs, length).

    Raises:
        InvalidInput: it has another length, is elsewhere, or is not finite.
    """
    _is_tensor(name, tensor)
    if tensor.dim() != 1 or len(tensor) != response_mask.size(0):
        raise InvalidInput(
            f"{name} has shape {tuple(tensor.shape)}: it must hold one value for each of the "
            f"{response_mask.size(0)} rows of response_mask"
        )
    _same_device(name, tensor, response_mask)
    if not torch.isfinite(tensor).all():
        sample = int((~torch.isfinite(tensor)).nonzero()[0])
        raise InvalidInput(f"{name} of sample {sample} is {tensor[sample].item():g}: look at the sample's reward")


def step_ends(ends: Tensor, response_mask: Tensor) -> None:
    """Refuses marks of step ends that do not fit the mask.

    Args:
        ends: must be boolean, (bs, length).
        response_mask: (bs, length).

    Raises:
        InvalidInput: how they do not fit.
    """
    _is_tensor("ends", ends)
    if ends.dtype != torch.bool or ends.shape != response_mask.shape:
        raise InvalidInput(
            f"ends are {ends.dtype} of shape {tuple(ends.shape)}: they must be boolean, of response_mask's shape "
            f"{tuple(response_mask.shape)}"
        )
    _same_device("ends", ends, response_mask)


def scores_and_groups(scores: Tensor, group: Tensor) -> None:
    """Refuses rewards that cannot be compared within groups.

    Args:
        scores: must be (bs,), floating and finite.
        group: must be (bs,), integers.

    Raises:
        InvalidInput: what is wrong, and with which sample.
    """
    _is_tensor("scores", scores)
    integers("group", group)
    if scores.dim() != 1 or scores.shape != group.shape:
        raise InvalidInput(
            f"scores have shape {tuple(scores.shape)} and group {tuple(group.shape)}: both must be (batch,)"
        )
    if not scores.is_floating_point():
        raise InvalidInput(f"scores are {scores.dtype}: they must be a floating dtype, for instance torch.float32")
    if scores.device != group.device:
        raise InvalidInput(f"scores are on {scores.device} and group on {group.device}: put them on one device")
    if not torch.isfinite(scores).all():
        sample = int((~torch.isfinite(scores)).nonzero()[0])
        raise InvalidInput(f"the score of sample {sample} is {scores[sample].item():g}: look at its reward function")


def integers(name: str, tensor: Tensor) -> None:
    """Refuses what does not number things.

    Args:
        name: what the tensor is called.
        tensor: must hold integers.

    Raises:
        InvalidInput: it holds something else.
    """
    if not isinstance(tensor, Tensor):
        raise InvalidInput(
            f"{name} is a {type(tensor).__name__}: it must be a torch tensor of integers; of names, "
            "torch.as_tensor(numpy.unique(names, return_inverse=True)[1])"
        )
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise InvalidInput(f"{name} is {tensor.dtype}: it must hold integers, for instance torch.int64")


def coefficient(beta: float) -> None:
    """Refuses a strength that regularises nothing.

    Args:
        beta: β.

    Raises:
        InvalidInput: it is no number, negative (which would reward divergence) or not finite.
    """
    if not isinstance(beta, numbers.Real) or not math.isfinite(beta) or beta < 0:
        raise InvalidInput(f"beta is {beta!r}: it must be a finite number that is not negative, for instance 0.01")


def tokens_are_finite(values: Tensor, response_mask: Tensor, name: str) -> None:
    """Refuses NaN and infinity in valid slots.

    Args:
        values: (bs, length), padded or jagged.
        response_mask: (bs, length), nonzero for valid tokens.
        name: what the values are called.

    Raises:
        NonFiniteToken: the first one, by sample and token.
    """
    if values.is_nested:
        sizes = values.offsets().diff().tolist()
        rows = zip(values.values().split(sizes), response_mask.values().split(sizes), strict=True)
    else:
        rows = zip(values, response_mask, strict=True)
    bad = [(row, (mask.bool() & ~torch.isfinite(of_row)).nonzero()[:, 0]) for row, (of_row, mask) in enumerate(rows)]
    bad = [(row, tokens) for row, tokens in bad if len(tokens)]
    if bad:
        sample, token = bad[0][0], int(bad[0][1][0])
        count = sum(len(tokens) for _, tokens in bad)
        raise NonFiniteToken(name, sample, token, count, values[sample][token].item())


def result_is_finite(result: Tensor, log_ratio: Tensor, response_mask: Tensor, divergence: str) -> None:
    """Finds out why a result is not finite, if it is not; costs one sum when it is.

    Args:
        result: what was computed from `log_ratio`, in its layout, 0 in masked slots.
        log_ratio: (bs, length), padded or jagged.
        response_mask: (bs, length), nonzero for valid tokens.
        divergence: the name of the divergence.

    Raises:
        InvalidInput: a valid log-ratio is not finite, or the divergence overflowed.
    """
    values = result.values() if result.is_nested else result
    if not torch.isfinite(values.sum()):
        tokens_are_finite(log_ratio, response_mask, "log_ratio")
        nothing_overflowed(values, divergence)


def nothing_overflowed(result: Tensor, divergence: str) -> None:
    """Refuses a result that is not finite although every log-ratio is.

    Args:
        result: advantages or divergences to go, 0 in masked slots.
        divergence: its name.

    Raises:
        InvalidInput: the divergence grew too large.
    """
    if not torch.isfinite(result).all():
        raise InvalidInput(
            f"the divergence {divergence!r} of a response overflows {result.dtype}: the policy is too far from its "
            "reference; choose a divergence that grows more slowly, or clip the log-ratios (token_clip)"
        )


def _is_tensor(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise InvalidInput(f"{name} is a {type(tensor).__name__}: it must be a torch tensor, see torch.as_tensor")


def _same_device(name: str, tensor: Tensor, response_mask: Tensor) -> None:
    if tensor.device != response_mask.device:
        raise InvalidInput(
            f"{name} is on {tensor.device} and response_mask on {response_mask.device}: put them on one device"
        )


def _same_layout(name: str, tensor: Tensor, response_mask: Tensor) -> None:
    _same_device(name, tensor, response_mask)
    if tensor.is_nested != response_mask.is_nested:
        raise InvalidInput(
            f"one of {name} and response_mask is jagged and the other is padded: make both the same, for instance "
            "with torch.nested.nested_tensor_from_jagged"
        )
    if not tensor.is_nested:
        if tensor.shape != response_mask.shape:
            raise InvalidInput(
                f"{name} has shape {tuple(tensor.shape)} and response_mask {tuple(response_mask.shape)}: pad or cut "
                "both to the same (batch, tokens)"
            )
        return
    _is_whole("response_mask", response_mask)
    _is_whole(name, tensor)
    if not torch.equal(tensor.offsets(), response_mask.offsets()):
        raise InvalidInput(
            f"{name} has offsets {tensor.offsets().tolist()} and response_mask {response_mask.offsets().tolist()}: "
            "make both with the same offsets"
        )


def _is_whole(name: str, tensor: Tensor) -> None:
    """Rows one behind the other, as many values as the offsets say: torch does not look, nor does a kernel."""
    if tensor.layout != torch.jagged or tensor.lengths() is not None or tensor.values().dim() != 1:
        raise InvalidInput(
            f"{name} is nested, but not rows of tokens one behind the other: make it with "
            "torch.nested.nested_tensor_from_jagged(values, offsets)"
        )
    offsets = tensor.offsets()
    if offsets[0] != 0 or offsets[-1] != len(tensor.values()) or (offsets.diff() < 0).any():
        raise InvalidInput(
            f"{name} has {len(tensor.values())} values and offsets from {int(offsets[0])} to {int(offsets[-1])}: they "
            "must rise from 0 to the number of values"
        )
