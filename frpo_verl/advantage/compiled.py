"""Computes advantages, and the sums that are logged, in one pass over a batch on the CPU.

The same numbers as `future.return_to_go`, `frpo.regularise` and `sums.measure`, which are the definition and run
everywhere else (accelerators, machines without numba). Each response is visited twice while it is in the cache: from
its last token to its first for the return-to-go, and once more for everything that follows from it.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from frpo_verl.advantage.sums import PARTS
from frpo_verl.divergences import Generator
from frpo_verl.divergences.generator import log_ratio_itself
from frpo_verl.rows import row_blocks

ZERO = np.float32(0)
"""Does not turn float32 into float64."""


def can_take(tensor: Tensor) -> bool:
    """Returns True for a tensor on the CPU, where numba is installed."""
    return tensor.device.type == "cpu" and _numba() is not None


def scan(
    read: tuple[Tensor, Tensor, Tensor, Tensor],
    advantages: Tensor,
    sums: Tensor,
    beta: float,
    generator: Generator,
    kept: tuple[Tensor | None, Tensor | None] = (None, None),
) -> bool:
    """Fills advantages and sums, adding in float64.

    Args:
        read: outcome (bs,), log π_θ, log π_ref and response mask, each (bs, length).
        advantages: (bs, length), written: Â − β·reg (arXiv 2601.10201, eq. 5.1), and 0 in masked slots.
        sums: (bs, 18), float64, written: the columns of `sums.Sums`.
        beta: β.
        generator: the divergence.
        kept: (bs, length) each, or None, written last: reg, which may have the memory of the advantages, and the sum of
            the earlier future(δ) of a divergence whose local part is another.

    Returns:
        False where a valid log-ratio or an advantage is not finite.
    """
    outcome, log_prob, reference, mask = read
    mask = mask if mask.dtype in (torch.bool, torch.int64) else mask.bool()
    is_k1 = generator.local is generator.future is log_ratio_itself
    fine = True
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        # Another f has to be computed first: in blocks, so that f and its local part stay in the cache.
        for rows in [slice(0, len(mask))] if is_k1 else row_blocks(mask):
            pair = log_prob[rows].to(advantages.dtype), reference[rows].to(advantages.dtype)
            parts = None, None
            if not is_k1:
                delta = pair[0] - pair[1]
                parts = generator.local(delta), generator.future(delta)
            written = advantages[rows], sums[rows], *(None if each is None else each[rows] for each in kept)
            fine &= _run(pool, (outcome[rows].double(), *pair, *parts, mask[rows], *written), beta)
    return fine


def _run(pool: ThreadPoolExecutor, tensors: tuple[Tensor | None, ...], beta: float) -> bool:
    """Shares the rows of a block out to the threads, and returns whether all that they saw is finite."""
    arrays = [None if tensor is None else np.ascontiguousarray(tensor.numpy()) for tensor in tensors]
    shares = np.linspace(0, len(arrays[0]), 2 * torch.get_num_threads() + 1).astype(int)
    tasks = [
        pool.submit(_kernel(), *(None if array is None else array[low:high] for array in arrays), beta)
        for low, high in zip(shares[:-1], shares[1:], strict=True)
        if high > low
    ]
    return all([task.result() for task in tasks])


@functools.cache
def _kernel() -> Callable:
    # Unwrapped: a type checker's import hook may have put a wrapper around them, which numba cannot compile.
    compile_, plain = functools.partial(_numba().njit, nogil=True), inspect.unwrap
    edges_of, to_go_of, past_of = compile_(plain(_edges)), compile_(plain(_to_go)), compile_(plain(_past))
    # Sums may be taken in any order, as vector instructions do.
    subtracted = compile_(plain(_subtracted), fastmath={"reassoc"})

    # What is None is known when this is compiled, and the branches on it are gone then.
    def scan(outcome, log_prob, reference, local, future, mask, advantages, sums, reg, past, beta):
        fine = True
        to_go, edges = np.empty(mask.shape[1]), np.empty(PARTS + 1, np.int64)
        for row in range(len(outcome)):
            of, total = outcome[row], sums[row]
            tokens = edges_of(mask[row], edges)
            last = edges[PARTS]
            advantages[row, last:] = 0.0
            parts = None if local is None else local[row], None if future is None else future[row]
            total[0], total[5], total[6] = tokens, of * tokens, of * of * tokens
            total[2] = to_go_of(log_prob[row], reference[row], *parts, mask[row], to_go, last)
            for part in range(PARTS):
                low, high = edges[part], edges[part + 1]
                read = log_prob[row, low:high], reference[row, low:high], mask[row, low:high], to_go[low:high]
                found = subtracted(*read, advantages[row, low:high], of, beta)
                total[1] += found[0]
                total[3] += found[1]
                total[4] += found[2]
                total[7] += found[3]
                total[8 + part] = found[1]
                # NaN and infinity stay in a sum: one look at its end instead of one at each token.
                fine &= np.isfinite(found[4])
            if reg is not None:
                reg[row, :last] = to_go[:last]
            if past is not None:
                past_of(future[row], mask[row], past[row], last)
        return fine

    return compile_(plain(scan))


def _edges(mask, edges):
    """Writes the slot where each tenth of a response begins and the slot after its end; returns its valid tokens."""
    tokens, last = 0, len(mask)
    for t in range(len(mask)):
        tokens += mask[t] != 0
    while last and not mask[last - 1]:
        last -= 1
    seen = slot = 0
    for part in range(PARTS):
        rank = -(-part * tokens // PARTS)
        if last == tokens:
            # Padded on the right alone: nothing to count.
            seen = slot = rank
        while seen < rank:
            seen += mask[slot] != 0
            slot += 1
        edges[part] = slot
    edges[PARTS] = last
    return tokens


def _to_go(log_prob, reference, local, future, mask, to_go, last):
    """Writes reg of the slots before `last`, 0 in masked ones; returns the sum of f."""
    later = 0.0
    for t in range(last - 1, -1, -1):
        if mask[t]:
            delta = log_prob[t] - reference[t]
            to_go[t] = (delta if local is None else local[t]) + later
            later += delta if future is None else future[t]
        else:
            to_go[t] = 0.0
    return later


def _past(future, mask, past, last):
    """Writes the sum of f over the valid slots before each."""
    earlier = 0.0
    for t in range(last):
        past[t] = earlier
        if mask[t]:
            earlier += future[t]


def _subtracted(log_prob, reference, mask, to_go, advantages, outcome, beta):
    """Writes the advantages of a tenth; returns Σ log π, Σ reg, Σ reg², flips, and a sum that is finite if all are."""
    log_probs = total = squares = witness = 0.0
    flips = 0
    for t in range(len(mask)):
        # Selections in place of branches: this loop becomes vector instructions.
        valid, reg = mask[t] != 0, to_go[t]
        advantages[t] = outcome - beta * reg if valid else 0.0
        log_probs += log_prob[t] if valid else ZERO
        total += reg
        squares += reg * reg
        flips += 1 if outcome * advantages[t] < 0 else 0
        # A bounded f would hide that δ is not finite.
        witness += log_prob[t] - reference[t] if valid else ZERO
        witness += advantages[t]
    return log_probs, total, squares, flips, witness


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
