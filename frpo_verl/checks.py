"""Refusals: one sentence with what, the value, the fix, before anything is computed with it."""

import math

import torch
from torch import Tensor


class InvalidInput(ValueError):
    """Tensors or numbers that no advantage can be computed from."""


class NonFiniteToken(InvalidInput):
    """A valid token whose log-ratio is NaN or infinite; the arguments are kept as attributes.

    Args:
        sample: the row of the first one.
        token: its position in the row.
        count: how many there are.
        value: what stands there.
    """

    def __init__(self, sample: int, token: int, count: int, value: float) -> None:
        self.sample, self.token, self.count, self.value = sample, token, count, value
        super().__init__(
            f"log_ratio of sample {sample} at token {token} is {value:g} although response_mask counts it, the first "
            f"of {count}: recompute the log-probs of that sample, or mask the token out"
        )


def token_tensors(response_mask: Tensor, **tensors: Tensor) -> None:
    """Refuses values per token that do not fit the mask.

    Args:
        response_mask: (bs, length), of any real dtype; nonzero marks the valid tokens.
        **tensors: floating tensors that must have the mask's shape, layout and device, by name.

    Raises:
        InvalidInput: which one does not fit, and how.
    """
    if response_mask.dim() != 2:
        raise InvalidInput(f"response_mask has shape {tuple(response_mask.shape)}: it must be (batch, tokens)")
    if response_mask.is_complex():
        raise InvalidInput(f"response_mask is {response_mask.dtype}: it must be boolean, or a number that is 0 or 1")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InvalidInput(f"{name} is {tensor.dtype}: it must be a floating dtype, for instance torch.float32")
        if tensor.device != response_mask.device:
            raise InvalidInput(
                f"{name} is on {tensor.device} and response_mask on {response_mask.device}: put them on one device"
            )
        if tensor.is_nested != response_mask.is_nested:
            raise InvalidInput(
                f"one of {name} and response_mask is jagged and the other is padded: make both the same, for "
                "instance with torch.nested.nested_tensor_from_jagged"
            )
        if not _same_shape(tensor, response_mask):
            raise InvalidInput(f"{name} has shape {_shape(tensor)} and response_mask {_shape(response_mask)}")


def row_tensor(name: str, tensor: Tensor, response_mask: Tensor) -> None:
    """Refuses values per response that do not fit the mask.

    Args:
        name: what the tensor is called.
        tensor: must be (bs,).
        response_mask: (bs, length).

    Raises:
        InvalidInput: it has another length or is elsewhere.
    """
    if tensor.dim() != 1 or len(tensor) != response_mask.size(0):
        raise InvalidInput(
            f"{name} has shape {tuple(tensor.shape)}: it must hold one value for each of the "
            f"{response_mask.size(0)} rows of response_mask"
        )
    if tensor.device != response_mask.device:
        raise InvalidInput(
            f"{name} is on {tensor.device} and response_mask on {response_mask.device}: put them on one device"
        )


def scores_and_groups(scores: Tensor, group: Tensor) -> None:
    """Refuses rewards that cannot be compared within groups.

    Args:
        scores: must be (bs,), floating and finite.
        group: must be (bs,), integers.

    Raises:
        InvalidInput: what is wrong, and with which sample.
    """
    if scores.dim() != 1 or scores.shape != group.shape:
        raise InvalidInput(
            f"scores have shape {tuple(scores.shape)} and group {tuple(group.shape)}: both must be (batch,)"
        )
    if not scores.is_floating_point():
        raise InvalidInput(f"scores are {scores.dtype}: they must be a floating dtype, for instance torch.float32")
    if group.is_floating_point() or group.is_complex() or group.dtype == torch.bool:
        raise InvalidInput(f"group is {group.dtype}: it must hold integers, one number for each prompt")
    if scores.device != group.device:
        raise InvalidInput(f"scores are on {scores.device} and group on {group.device}: put them on one device")
    if not torch.isfinite(scores).all():
        sample = int((~torch.isfinite(scores)).nonzero()[0])
        raise InvalidInput(f"the score of sample {sample} is {scores[sample].item():g}: look at its reward function")


def coefficient(beta: float) -> None:
    """Refuses a strength that regularises nothing.

    Args:
        beta: β.

    Raises:
        InvalidInput: it is negative (which would reward divergence) or not finite.
    """
    if not math.isfinite(beta) or beta < 0:
        raise InvalidInput(f"beta is {beta:g}: it must be a finite number that is not negative, for instance 0.01")


def tokens_are_finite(log_ratio: Tensor, response_mask: Tensor) -> None:
    """Refuses NaN and infinity in valid slots.

    Args:
        log_ratio: (bs, length), dense or jagged.
        response_mask: (bs, length), nonzero for valid tokens.

    Raises:
        NonFiniteToken: the first one, by sample and token.
    """
    if log_ratio.is_nested:
        first, last = log_ratio.offsets()[:-1].tolist(), log_ratio.offsets()[1:].tolist()
        rows = [(log_ratio.values()[a:b], response_mask.values()[a:b]) for a, b in zip(first, last, strict=True)]
    else:
        rows = zip(log_ratio, response_mask, strict=True)
    bad = [(row, mask.bool() & ~torch.isfinite(values), values) for row, (values, mask) in enumerate(rows)]
    bad = [(row, where.nonzero()[:, 0], values) for row, where, values in bad if where.any()]
    if bad:
        sample, tokens, values = bad[0]
        token = int(tokens[0])
        raise NonFiniteToken(sample, token, sum(len(where) for _, where, _ in bad), values[token].item())


def result_is_finite(result: Tensor, log_ratio: Tensor, response_mask: Tensor, divergence: str) -> None:
    """Finds out why a result is not finite, if it is not; costs one sum when it is.

    Args:
        result: what was computed from `log_ratio`, in its layout, 0 in masked slots.
        log_ratio: (bs, length), dense or jagged.
        response_mask: (bs, length), nonzero for valid tokens.
        divergence: the name of the divergence.

    Raises:
        InvalidInput: a valid log-ratio is not finite, or the divergence overflowed.
    """
    values = result.values() if result.is_nested else result
    if not torch.isfinite(values.sum()):
        tokens_are_finite(log_ratio, response_mask)
        nothing_overflowed(values, divergence)


def nothing_overflowed(result: Tensor, divergence: str) -> None:
    """Refuses a sum that has left its dtype although every log-ratio is finite.

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


def _same_shape(tensor: Tensor, response_mask: Tensor) -> bool:
    if tensor.is_nested:
        return torch.equal(tensor.offsets(), response_mask.offsets())
    return tensor.shape == response_mask.shape


def _shape(tensor: Tensor) -> str:
    return f"offsets {tensor.offsets().tolist()}" if tensor.is_nested else str(tuple(tensor.shape))
