"""Visits the weights of a batch group by group on the CPU: their moments, and the same weights less a baseline.

The same numbers as the definition in `weights`, which runs everywhere else (accelerators, machines without numba). The
columns are made anew for each response while it is in the cache, and stored nowhere.
"""

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frpo_verl.advantage import compiled
from frpo_verl.advantage.weights import Members, Weights


def visits(of: Weights, who: Members) -> Callable[[float, Tensor, Tensor], None]:
    """Makes a function of β, moments and coefficients that does what `weights.visit` does, as often as it is called."""
    mask = of.mask if of.mask.dtype in (torch.bool, torch.int64) else of.mask.bool()
    # Of one form, since each other form would be compiled by itself.
    outcome = of.outcome if of.outcome.dim() == 2 else of.outcome.double()[:, None]
    past = of.to_go[:0] if of.past is None else of.past
    read = [np.ascontiguousarray(part.numpy()) for part in (outcome, of.to_go, past, of.whole, of.tokens, mask)]
    dense, threads = np.empty(len(mask), np.bool_), torch.get_num_threads()
    shares = np.searchsorted(who.bounds, np.linspace(0, len(who.rows), 2 * threads + 1))

    def in_threads(kernel: Callable, *arguments: Any) -> None:
        with ThreadPoolExecutor(threads) as pool:
            tasks = [
                pool.submit(kernel, *who, low, high, *arguments)
                for low, high in zip(shares[:-1], shares[1:], strict=True)
                if high > low
            ]
            for task in tasks:
                task.result()

    def visit(beta: float, moments: Tensor, coefficients: Tensor) -> None:
        written = [np.ascontiguousarray(part.numpy()) for part in (moments, coefficients)]
        in_threads(_kernel(), *read, dense, *written, float(beta))

    in_threads(_dense_kernel(), *read[-2:], dense)
    return visit


def _compiled(function: Callable, **options: Any) -> Callable:
    # Unwrapped: a type checker's import hook may have put a wrapper around it, which numba cannot compile. In numpy's
    # model a division by 0 raises nothing, so that a loop with one becomes vector instructions.
    return compiled._numba().njit(nogil=True, error_model="numpy", **options)(inspect.unwrap(function))


@functools.cache
def _kernel() -> Callable:
    added, columns, shares_of = _added_kernel(), _columns_kernel(), _compiled(_shares)
    of_others, written, spread = _compiled(_of_others), _compiled(_written), _compiled(_spread)
    # Sums may be taken in any order, as vector instructions do.
    summed = _compiled(_summed, fastmath={"reassoc", "contract"})

    def visit(rows, rollout, bounds, low, high, outcome, to_go, past, whole, tokens, mask, dense, moments, theta, beta):
        lines, one, places = np.empty((10, mask.shape[1])), np.ones(mask.shape[1]), np.arange(1.0 * mask.shape[1])
        reg, sums, numbers, own, own_numbers, alone = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5]
        for group in range(low, high):
            start, end = bounds[group], bounds[group + 1]
            total, n = added(rows[start:end], to_go, whole, tokens, mask, dense, reg, sums, numbers)
            shares_of(numbers, one, alone[:n])
            while start < end:
                stop = start + 1
                while stop < end and rollout[stop] == rollout[start]:
                    stop += 1
                of_own, ours, shares = whole[rows[start]], reg, alone
                if stop > start + 1:
                    of_own, n = added(rows[start:stop], to_go, whole, tokens, mask, dense, reg, own, own_numbers)
                    ours, shares = own, lines[6]
                    shares_of(numbers, own_numbers, shares[:n])
                others = (total - of_own) / max(1, end - bounds[group] - (stop - start))
                for row in rows[start:stop]:
                    n = tokens[row]
                    before, weight, mean = lines[7, :n], lines[8, :n], lines[9, :n]
                    columns(row, outcome, to_go, past, mask, dense, beta, reg[:n], before, weight)
                    of_others(sums, ours, shares, mean)
                    if not len(theta):
                        summed(mean, others, before, weight, places, moments[group])
                    elif dense[row]:
                        written(mean, others, before, weight, theta[group], to_go[row, :n])
                    else:
                        written(mean, others, before, weight, theta[group], reg[:n])
                        spread(reg[:n], mask[row], to_go[row])
                start = stop

    return _compiled(visit)


def _added_kernel() -> Callable:
    packed, add = _compiled(_packed), _compiled(_add)

    def added(rows, to_go, whole, tokens, mask, dense, line, sums, numbers):
        """Writes Σ reg, and the number of rows, at each place of a token; returns Σ `whole` and the longest row."""
        total, longest = 0.0, 0
        for row in rows:
            longest = max(longest, tokens[row])
        sums[:longest] = 0.0
        numbers[:longest] = 0.0
        for row in rows:
            n = tokens[row]
            total += whole[row]
            if dense[row]:
                add(to_go[row, :n], sums, numbers)
            else:
                packed(to_go[row], mask[row], False, line[:n])
                add(line[:n], sums, numbers)
        return total, longest

    return _compiled(added)


def _add(values, sums, numbers):
    for place in range(len(values)):
        sums[place] += values[place]
        numbers[place] += 1.0


def _columns_kernel() -> Callable:
    packed = _compiled(_packed)

    def columns(row, outcome, to_go, past, mask, dense, beta, reg, before, weight):
        """Writes what a response's own tokens say: reg, its past, and its weight."""
        packed(to_go[row], mask[row], dense[row], reg)
        if not len(past):
            for place in range(len(reg)):
                before[place] = reg[0] - reg[place]
        else:
            packed(past[row], mask[row], dense[row], before)
        if outcome.shape[1] == 1:
            for place in range(len(reg)):
                weight[place] = outcome[row, 0] - beta * reg[place]
        else:
            packed(outcome[row], mask[row], dense[row], weight)
            for place in range(len(reg)):
                weight[place] -= beta * reg[place]

    return _compiled(columns)


@functools.cache
def _dense_kernel() -> Callable:
    is_dense = _compiled(_is_dense)

    def mark(rows, rollout, bounds, low, high, tokens, mask, dense):
        for row in rows[bounds[low] : bounds[high]]:
            dense[row] = is_dense(mask[row, : tokens[row]])

    return _compiled(mark)


def _is_dense(mask):
    """Tells whether all slots are valid."""
    valid = 0
    for t in range(len(mask)):
        valid += mask[t] != 0
    return valid == len(mask)


def _packed(values, mask, is_dense, into):
    """Writes the values of valid slots one behind the other."""
    if is_dense:
        for place in range(len(into)):
            into[place] = values[place]
        return
    place = t = 0
    while place < len(into):
        if mask[t]:
            into[place] = values[t]
            place += 1
        t += 1


def _spread(values, mask, into):
    """Writes values into valid slots."""
    place = t = 0
    while place < len(values):
        if mask[t]:
            into[t] = values[place]
            place += 1
        t += 1


def _shares(numbers, own_numbers, into):
    """Writes what a row is of those that are of the group and not one's own, 0 where there is none."""
    for place in range(len(into)):
        left = numbers[place] - own_numbers[place]
        share = 1.0 / left
        into[place] = share if left else 0.0


def _of_others(sums, own, shares, into):
    """Writes the mean over the rows of the group that are not one's own."""
    for place in range(len(into)):
        into[place] = (sums[place] - own[place]) * shares[place]


def _written(mean, others, before, weight, theta, into):
    """Writes the weights less z·θ."""
    constant = theta[0] + theta[3] * others
    for place in range(len(into)):
        into[place] = weight[place] - (constant + theta[1] * place + theta[2] * mean[place] + theta[4] * before[place])


def _summed(mean, others, before, weight, places, into):
    """Adds Σ [z; w][z; w]ᵀ of a response; `places` counts from 0, since to turn integers into numbers takes longer."""
    n = len(weight)
    m = p = w = tm = tp = tw = mm = mp = mw = pp = pw = ww = 0.0
    for place in range(n):
        t, of_others, past, of_token = places[place], mean[place], before[place], weight[place]
        m += of_others
        p += past
        w += of_token
        tm += t * of_others
        tp += t * past
        tw += t * of_token
        mm += of_others * of_others
        mp += of_others * past
        mw += of_others * of_token
        pp += past * past
        pw += past * of_token
        ww += of_token * of_token
    t, tt = n * (n - 1) / 2.0, n * (n - 1.0) * (2 * n - 1) / 6.0
    found = (
        (1.0 * n, t, m, n * others, p, w),
        (t, tt, tm, t * others, tp, tw),
        (m, tm, mm, m * others, mp, mw),
        (n * others, t * others, m * others, n * others * others, p * others, w * others),
        (p, tp, mp, p * others, pp, pw),
        (w, tw, mw, w * others, pw, ww),
    )
    for i in range(6):
        for j in range(6):
            into[i, j] += found[i][j]
