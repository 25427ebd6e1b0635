"""The fused pass over a batch on the CPU: group advantage, divergence and masking in one reading of memory.

The same numbers as `future.return_to_go` and `frpo.regularise`, which are the definition and run everywhere else
(accelerators, machines without numba). Tokens are visited from the last to the first, so nothing is flipped, nothing
of the batch's size is allocated beside the result, and a jagged batch costs by its tokens.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frpo_verl import checks
from frpo_verl.divergences import Generator
from frpo_verl.divergences.generator import log_ratio_itself
from frpo_verl.rows import empty

BLOCK = 2**18
"""Tokens in a block where f has to be computed: 1 MB of float32, so that f and its local part stay in the cache."""


def can_take(tensor: Tensor) -> bool:
    """Whether this module can work on a tensor.

    Args:
        tensor: any.

    Returns:
        True on the CPU, when numba is installed.
    """
    return tensor.device.type == "cpu" and _numba() is not None


def advantage(outcome: Tensor, log_ratio: Tensor, response_mask: Tensor, beta: float, generator: Generator) -> Tensor:
    """outcome_i − β·( local(δ_t) + Σ_{j>t} m_j future(δ_j) ), and 0 in masked slots (arXiv 2601.10201, eq. 5.1).

    The sum runs in float64.

    Args:
        outcome: (bs,).
        log_ratio: (bs, length), dense or jagged, floating.
        response_mask: (bs, length), nonzero for valid tokens, in the same layout.
        beta: β.
        generator: the divergence.

    Returns:
        (bs, length) in the layout of `log_ratio`, float32 or better.

    Raises:
        InvalidInput: a valid token is not finite, or its sum leaves the dtype.
    """
    result = empty((_flat(log_ratio).numel(),), _dtype(log_ratio), log_ratio.device)
    scan(Operands(log_ratio, None, response_mask, result, None, None, outcome), beta, generator)
    return _like(result, log_ratio)


class Operands(NamedTuple):
    """What a pass reads and writes; `None` is neither read nor written.

    Attributes:
        log_prob: (bs, length), dense or jagged: log π_θ, or δ itself where there is no reference.
        reference: (bs, length), log π_ref.
        response_mask: (bs, length), nonzero for valid tokens.
        advantages: (tokens,), written: Â − β·reg.
        outcomes: (tokens,), written: Â in valid slots.
        sums: (bs, 3), float64, written: of each response Σ future(δ), Σ reg and Σ reg².
        outcome: (bs,), Â.
    """

    log_prob: Tensor
    reference: Tensor | None
    response_mask: Tensor
    advantages: Tensor
    outcomes: Tensor | None
    sums: Tensor | None
    outcome: Tensor


def scan(operands: Operands, beta: float, generator: Generator) -> None:
    """One pass over a batch.

    Args:
        operands: what is read and written.
        beta: β.
        generator: the divergence.

    Raises:
        InvalidInput: a valid token is not finite, or its sum leaves the dtype.
    """
    log_prob, reference, mask = (_flat(tensor) for tensor in operands[:3])
    offsets, dtype = _offsets(operands.log_prob), operands.advantages.dtype
    outcome = operands.outcome.to(torch.float64)
    if mask.dtype not in (torch.bool, torch.int64):
        mask = mask.bool()
    whole = (
        generator.local is generator.future is log_ratio_itself
        and log_prob.dtype == dtype
        and (reference is None or reference.dtype == dtype)
    )
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for first, last in _blocks(offsets, log_prob.numel() if whole else BLOCK):
            tokens, rows = slice(offsets[first], offsets[last]), slice(first, last)
            read = log_prob[tokens], _part(reference, tokens), None, None
            if not whole:
                delta = read[0].to(dtype)
                delta = delta if reference is None else delta - read[1].to(dtype)
                read = delta, None, generator.local(delta), generator.future(delta)
            written = (_part(tensor, tokens) for tensor in (operands.advantages, operands.outcomes))
            arrays = *read, mask[tokens], *written, _part(operands.sums, rows), outcome[rows]
            if not _run(pool, arrays, offsets[first : last + 1] - offsets[first], beta):
                _explain(operands, tokens, generator)


def _run(pool: ThreadPoolExecutor, arrays: tuple[Tensor | None, ...], offsets: np.ndarray, beta: float) -> bool:
    """Shares the rows of a block out to the threads, and says whether nothing looked suspicious."""
    *tokens, sums, outcome = [array if array is None else array.numpy() for array in arrays]
    shares = np.linspace(0, len(outcome), 2 * torch.get_num_threads() + 1).astype(int)
    tasks = [
        pool.submit(_kernel(), *tokens, _part(sums, rows), outcome[rows], offsets[rows.start : rows.stop + 1], beta)
        for rows in (slice(low, high) for low, high in zip(shares[:-1], shares[1:], strict=True) if high > low)
    ]
    return all([task.result() for task in tasks])


def _explain(operands: Operands, tokens: slice, generator: Generator) -> None:
    log_prob, reference, mask = operands[:3]
    checks.tokens_are_finite(log_prob if reference is None else log_prob - reference, mask, "log_ratio")
    checks.nothing_overflowed(operands.advantages[tokens], generator.name)


@functools.cache
def _kernel() -> Callable:
    # What is None is known when this is compiled, and the branches on it are gone then.
    def scan(log_prob, reference, local, future, mask, advantages, outcomes, sums, outcome, offsets, beta):
        fine = True
        for row in range(len(outcome)):
            of_response = outcome[row]
            later = witness = total = squares = 0.0
            for t in range(offsets[row + 1] - 1, offsets[row] - 1, -1):
                if mask[t]:
                    if local is None:
                        own = following = log_prob[t] if reference is None else log_prob[t] - reference[t]
                    else:
                        own, following = local[t], future[t]
                        # A bounded f would hide that δ is not finite.
                        witness += log_prob[t]
                    to_go = own + later
                    later += following
                    advantages[t] = of_response - beta * to_go
                    witness += advantages[t]
                    if outcomes is not None:
                        outcomes[t] = of_response
                    if sums is not None:
                        total += to_go
                        squares += to_go * to_go
                else:
                    advantages[t] = 0.0
                    if outcomes is not None:
                        outcomes[t] = 0.0
            if sums is not None:
                sums[row, 0], sums[row, 1], sums[row, 2] = later, total, squares
            # NaN and infinity stay in a sum: one look at its end instead of one at each token.
            fine &= np.isfinite(witness)
        return fine

    # Unwrapped: a type checker's import hook may have put a wrapper around it, which numba cannot compile.
    return _numba().njit(nogil=True)(inspect.unwrap(scan))


@functools.cache
def _numba() -> ModuleType | None:
    try:
        import numba
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        warnings.warn(f"numba is installed but cannot be imported, so torch computes instead: {error}", stacklevel=2)
        return None
    return numba


def _dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _flat(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    return (tensor.values() if tensor.is_nested else tensor.reshape(-1)).resolve_neg()


def _part(array: Tensor | np.ndarray | None, of: slice) -> Tensor | np.ndarray | None:
    return None if array is None else array[of]


def _offsets(tensor: Tensor) -> np.ndarray:
    if tensor.is_nested:
        return tensor.offsets().numpy()
    rows, length = tensor.shape
    return np.arange(rows + 1) * length


def _like(flat: Tensor, tensor: Tensor) -> Tensor:
    if tensor.is_nested:
        return torch.nested.nested_tensor_from_jagged(flat, tensor.offsets())
    return flat.view(tensor.shape)


def _blocks(offsets: np.ndarray, tokens: int) -> Iterator[tuple[int, int]]:
    """Ranges of whole rows with about so many tokens each, and at least one row."""
    first = 0
    while first < len(offsets) - 1:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + tokens, side="right")) - 1)
        yield first, last
        first = last
