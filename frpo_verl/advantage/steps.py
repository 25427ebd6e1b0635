"""Gives all tokens of a step one value, as PRL does.

PRL is the first version of the paper (arXiv 2601.10201 v1, "Process Reward Learning"); its repository is
MaxwellJryao/Process-Reward-Learning.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from frpo_verl import checks
from frpo_verl.masking import zero_where_masked
from frpo_verl.rows import over_rows


def ends_by_length(
    response_mask: Shaped[Tensor, "bs length"],
    step_length: int,
) -> Bool[Tensor, "bs length"]:
    """Ends a step at every n-th valid token (PRL's `prm.step_split=length`, `prm.step_len`; 16, 64 or 256 there).

    Args:
        response_mask: nonzero for the tokens that the policy produced.
        step_length: n, in tokens.

    Returns:
        True at the last token of each full step.

    Raises:
        InvalidInput: the length is not a positive integer, or the mask is not (bs, length).
    """
    if not isinstance(step_length, int) or step_length < 1:
        raise checks.InvalidInput(f"step length {step_length!r}: it must be a number of tokens, 1 or more")
    checks.token_tensors(response_mask)
    mask = response_mask.bool()
    return mask & (mask.cumsum(-1, dtype=torch.int32) % step_length == 0)


def ends_by_separator(
    responses: Int[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    separator: int,
) -> Bool[Tensor, "bs length"]:
    """Ends a step at every separator token (PRL's `prm.step_split=n` or `nn`: the token of one or two newlines).

    Args:
        responses: the response's token ids.
        response_mask: nonzero for the tokens that the policy produced.
        separator: the id of the token that ends a step.

    Returns:
        True at the separators that the policy produced.

    Raises:
        InvalidInput: the shapes do not fit.
    """
    checks.integers("responses", responses)
    if not isinstance(separator, int):
        raise checks.InvalidInput(f"separator {separator!r}: it must be the id of a token, see tokenizer.encode")
    if responses.shape != response_mask.shape:
        raise checks.InvalidInput(
            f"responses have shape {tuple(responses.shape)} and response_mask {tuple(response_mask.shape)}"
        )
    return response_mask.bool() & (responses == separator)


def value_at_step_end(
    values: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    ends: Bool[Tensor, "bs length"],
) -> Float[Tensor, "bs length"]:
    """Gives every token the value that stands at the last token of its step: PRL's rule.

    A token then feels neither its own divergence nor that of the rest of its step but the last token, so this is not
    the gradient of eq. 4.1; `value_at_step_start` is. The response's last valid token always ends a step.

    Args:
        values: one number per token, a return-to-go or an advantage.
        response_mask: nonzero for the tokens that the policy produced.
        ends: True at the last token of each step.

    Returns:
        One number per token, the same within a step; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, values=values)
    checks.step_ends(ends, response_mask)

    def of_rows(values: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        length = values.shape[1]
        position = torch.arange(length, device=values.device).expand(values.shape)
        end = torch.where((ends & mask) | _last(mask), position, length)
        nearest = end.flip(-1).cummin(-1).values.flip(-1).clamp(max=length - 1)
        return zero_where_masked(values.gather(-1, nearest), mask)

    return over_rows(of_rows, values, response_mask.bool(), ends)


def value_at_step_start(
    values: Float[Tensor, "bs length"],
    response_mask: Shaped[Tensor, "bs length"],
    ends: Bool[Tensor, "bs length"],
) -> Float[Tensor, "bs length"]:
    """Gives every token the value that stands at the first token of its step.

    For a return-to-go with local = future (reverse KL) this adds to each token what came before it in the step, which
    its state determines: a baseline, and the expected gradient stays exact.

    Args:
        values: one number per token, a return-to-go or an advantage.
        response_mask: nonzero for the tokens that the policy produced.
        ends: True at the last token of each step.

    Returns:
        One number per token, the same within a step; 0 in masked slots.

    Raises:
        InvalidInput: shapes, dtypes or devices do not fit, or a valid token is not finite.
    """
    checks.finite_tokens(response_mask, values=values)
    checks.step_ends(ends, response_mask)

    def of_rows(values: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        position = torch.arange(values.shape[1], device=values.device).expand(values.shape)
        ended = (ends & mask).cumsum(-1)
        # A step is the run of valid tokens after the same number of ends; the end itself belongs to the step it closes.
        step = torch.where(mask, ended - (ends & mask).long(), -1)
        before = torch.nn.functional.pad(step.cummax(-1).values[:, :-1], (1, 0), value=-1)
        start = torch.where(mask & (before < step), position, 0).cummax(-1).values
        return zero_where_masked(values.gather(-1, start), mask)

    return over_rows(of_rows, values, response_mask.bool(), ends)


def _last(mask: Tensor) -> Tensor:
    count = mask.cumsum(-1)
    return mask & (count == count[:, -1:])
