"""The fused pass over a batch on the CPU: group advantage, divergence and masking in one reading of memory.

The same numbers as `future.return_to_go` and `frpo.regularise`, which are the definition and run everywhere else
(accelerators, machines without numba). Tokens are visited from the last to the first, so nothing is flipped, nothing
of the batch's size is allocated beside the result, and a jagged batch costs by its tokens.
"""

import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from frpo_verl import checks
from frpo_verl.divergences import Generator

BLOCK = 2**18
"""Tokens in a block where f has to be computed: 1 MB of float32, so that f and its local part stay in the cache."""


LARGEST_SUM = 1e37
"""Of a response's divergence, in nats: beyond it, look whether a float32 overflowed."""


def can_take(tensor: Tensor) -> bool:
    """Whether this module can work on a tensor.

    Args:
        tensor: any.

    Returns:
        True on the CPU, when numba is installed.
    """
    return tensor.device.type == "cpu" and _numba_is_installed()


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
    delta, mask, offsets = _flat(log_ratio), _flat(response_mask), _offsets(log_ratio)
    dtype = torch.promote_types(delta.dtype, torch.float32)
    if mask.dtype not in (torch.bool, torch.int64):
        mask = mask.bool()
    # numpy asks for huge pages, torch does not: the first touch of new memory then costs a third.
    result = torch.from_numpy(np.empty(delta.numel(), dtype=str(dtype).removeprefix("torch.")))
    outcome = outcome.to(torch.float64)
    whole = _is_identity(generator) and dtype == delta.dtype
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for first, last in _blocks(offsets, delta.numel() if whole else BLOCK):
            tokens = slice(offsets[first], offsets[last])
            block = delta[tokens].to(dtype)
            parts = (block, block) if whole else (generator.local(block), generator.future(block))
            operands = (None if whole else block, *parts, mask[tokens], result[tokens], outcome[first:last])
            if not _scan(pool, operands, offsets[first : last + 1] - offsets[first], beta):
                checks.tokens_are_finite(log_ratio, response_mask)
                checks.nothing_overflowed(result[tokens], generator.name)
    return _like(result, log_ratio)


def _scan(pool: ThreadPoolExecutor, operands: tuple[Tensor | None, ...], rows: np.ndarray, beta: float) -> bool:
    """Shares the rows of a block out to the threads, and says whether nothing looked suspicious."""
    *tokens, outcome = [tensor if tensor is None else tensor.numpy() for tensor in operands]
    shares = np.linspace(0, len(outcome), 2 * torch.get_num_threads() + 1).astype(int)
    tasks = [
        pool.submit(_kernel(), *tokens, outcome[low:high], rows[low : high + 1], beta)
        for low, high in zip(shares[:-1], shares[1:], strict=True)
        if high > low
    ]
    return all([task.result() for task in tasks])


@functools.cache
def _kernel() -> Callable:
    import numba

    def scan(delta, local, future, mask, out, outcome, rows, beta):
        fine = True
        for row in range(len(outcome)):
            advantage = outcome[row]
            later = witness = 0.0
            for t in range(rows[row + 1] - 1, rows[row] - 1, -1):
                if mask[t]:
                    out[t] = advantage - beta * (local[t] + later)
                    later += future[t]
                    # Only where future(δ) is not δ itself; decided when this is compiled.
                    if delta is not None:
                        witness += delta[t]
                else:
                    out[t] = 0.0
            # NaN and infinity stay in a sum: one look at its end instead of one at each token.
            fine &= abs(later) < LARGEST_SUM and np.isfinite(witness)
        return fine

    # Unwrapped: a type checker's import hook may have put a wrapper around it, which numba cannot compile.
    return numba.njit(nogil=True)(inspect.unwrap(scan))


def _is_identity(generator: Generator) -> bool:
    """Whether both parts hand δ itself back (reverse KL, k1), so that nothing has to be computed first."""
    probe = torch.zeros(1)
    return generator.local(probe) is probe and generator.future(probe) is probe


@functools.cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def _flat(tensor: Tensor) -> Tensor:
    return tensor.values() if tensor.is_nested else tensor.reshape(-1)


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
