"""Refuses unfit input in one sentence with what, the value and the fix, before anything is computed with it."""

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
    """Refuses values per token that are not floating or do not have the mask's shape (bs, length) and device."""
    _padded_tensor("response_mask", response_mask)
    if response_mask.dim() != 2:
        raise InvalidInput(f"response_mask has shape {tuple(response_mask.shape)}: it must be (batch, tokens)")
    if response_mask.is_complex():
        raise InvalidInput(f"response_mask is {response_mask.dtype}: it must be boolean, or a number that is 0 or 1")
    for name, tensor in tensors.items():
        _padded_tensor(name, tensor)
        _floating(name, tensor)
        _same_device(name, tensor, "response_mask", response_mask)
        if tensor.shape != response_mask.shape:
            raise InvalidInput(
                f"{name} has shape {tuple(tensor.shape)} and response_mask {tuple(response_mask.shape)}: pad or cut "
                "both to the same (batch, tokens)"
            )


def finite_tokens(response_mask: Tensor, **tensors: Tensor) -> None:
    """Refuses what `token_tensors` refuses, and NaN or infinity in valid slots (NonFiniteToken)."""
    token_tensors(response_mask, **tensors)
    for name, tensor in tensors.items():
        bad = response_mask.bool() & ~torch.isfinite(tensor)
        if bad.any():
            sample, token = bad.nonzero()[0].tolist()
            raise NonFiniteToken(name, sample, token, int(bad.sum()), tensor[sample, token].item())


def row_tensor(name: str, tensor: Tensor, response_mask: Tensor) -> None:
    """Refuses anything but one finite value for each row of the mask, on its device."""
    _padded_tensor(name, tensor)
    if tensor.dim() != 1 or len(tensor) != response_mask.size(0):
        raise InvalidInput(
            f"{name} has shape {tuple(tensor.shape)}: it must hold one value for each of the "
            f"{response_mask.size(0)} rows of response_mask"
        )
    _same_device(name, tensor, "response_mask", response_mask)
    _finite_rows(name, tensor)


def step_ends(ends: Tensor, response_mask: Tensor) -> None:
    """Refuses marks of step ends that are not boolean or do not fit the mask."""
    _padded_tensor("ends", ends)
    if ends.dtype != torch.bool or ends.shape != response_mask.shape:
        raise InvalidInput(
            f"ends are {ends.dtype} of shape {tuple(ends.shape)}: they must be boolean, of response_mask's shape "
            f"{tuple(response_mask.shape)}"
        )
    _same_device("ends", ends, "response_mask", response_mask)


def scores_and_groups(scores: Tensor, group: Tensor) -> None:
    """Refuses rewards that cannot be compared within groups: one finite score and one integer for each response."""
    _padded_tensor("scores", scores)
    integers("group", group)
    if scores.dim() != 1 or scores.shape != group.shape:
        raise InvalidInput(
            f"scores has shape {tuple(scores.shape)} and group {tuple(group.shape)}: both must be (batch,)"
        )
    _floating("scores", scores)
    _same_device("scores", scores, "group", group)
    _finite_rows("scores", scores)


def integers(name: str, tensor: Tensor) -> None:
    """Refuses anything but a tensor of integers."""
    if not isinstance(tensor, Tensor):
        raise InvalidInput(
            f"{name} is a {type(tensor).__name__}: it must be a torch tensor of integers; of names, see number_groups"
        )
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise InvalidInput(f"{name} is {tensor.dtype}: it must hold integers, for instance torch.int64")


def token_tree(token_ids: Tensor, present: Tensor, group: Tensor) -> None:
    """Refuses anything but integers and a mask of one shape (bs, length), and one integer a row, on one device."""
    for name, tensor in (("token_ids", token_ids), ("present", present)):
        _padded_tensor(name, tensor)
    integers("token_ids", token_ids)
    integers("group", group)
    if token_ids.dim() != 2 or token_ids.shape != present.shape:
        raise InvalidInput(
            f"token_ids has shape {tuple(token_ids.shape)} and present {tuple(present.shape)}: both must be (batch, "
            "tokens), the same"
        )
    if group.shape != token_ids.shape[:1]:
        raise InvalidInput(
            f"group has shape {tuple(group.shape)}: it must hold one integer for each of the {len(token_ids)} rows of "
            "token_ids"
        )
    for name, tensor in (("token_ids", token_ids), ("group", group)):
        _same_device(name, tensor, "present", present)


def mask_of_sets(start: Tensor, length: int, response_mask: Tensor) -> None:
    """Refuses a mask of another shape than that of the tokens among which sets were found, (len(start), length)."""
    token_tensors(response_mask)
    if response_mask.shape != (len(start), length):
        raise InvalidInput(
            f"the process sets are those of tokens of shape {(len(start), length)}, and response_mask has "
            f"{tuple(response_mask.shape)}: both must be (batch, tokens), the same"
        )


def coefficient(beta: float) -> None:
    """Refuses a β that is not a finite number, or negative, which would reward divergence."""
    if not isinstance(beta, numbers.Real) or not math.isfinite(beta) or beta < 0:
        raise InvalidInput(f"beta is {beta!r}: it must be a finite number that is not negative, for instance 0.01")


def nothing_overflowed(result: Tensor, log_ratio: Tensor, response_mask: Tensor, divergence: str) -> None:
    """Refuses a valid log-ratio that is not finite, and a result, 0 in masked slots, that is not although they are."""
    finite_tokens(response_mask, log_ratio=log_ratio)
    if not torch.isfinite(result).all():
        raise InvalidInput(
            f"the divergence {divergence!r} of a response overflows {result.dtype}: the policy is too far from its "
            "reference; choose a divergence that grows more slowly, or clip the log-ratios (token_clip)"
        )


def _padded_tensor(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise InvalidInput(f"{name} is a {type(tensor).__name__}: it must be a torch tensor, see torch.as_tensor")
    if tensor.is_nested:
        raise InvalidInput(f"{name} is a nested tensor: it must be padded, see torch.nested.to_padded_tensor")


def _floating(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise InvalidInput(f"{name} is {tensor.dtype}: it must be a floating dtype, for instance torch.float32")


def _same_device(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.device != other.device:
        raise InvalidInput(f"{name} is on {tensor.device} and {other_name} on {other.device}: put them on one device")


def _finite_rows(name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor).all():
        sample = int((~torch.isfinite(tensor)).nonzero()[0])
        raise InvalidInput(f"{name} of sample {sample} is {tensor[sample].item():g}: look at the sample's reward")
