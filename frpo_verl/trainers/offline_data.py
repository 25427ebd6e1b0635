"""Makes what a step is drawn from, out of graded responses: single responses with an advantage, or pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from frpo_verl.trainers.graded import Graded

Row = dict[str, torch.Tensor]
"""One response as verl's engines read it, and its advantage."""


def signed(scores: np.ndarray, prompt_of: np.ndarray, threshold: float) -> np.ndarray:
    """Computes A = +1 for the responses with a score above the threshold, and −1 for the rest."""
    return np.where(scores > threshold, 1.0, -1.0)


def standardised(scores: np.ndarray, prompt_of: np.ndarray, threshold: float) -> np.ndarray:
    """Computes A = (r − mean) / std over the responses of a prompt, std = √(Σ(r − mean)²/n); 0 where all are equal."""
    count = np.maximum(np.bincount(prompt_of), 1)
    centred = scores - (np.bincount(prompt_of, scores) / count)[prompt_of]
    # the mean of equal scores may differ from them in its last digit
    low, high = np.full(len(count), np.inf), np.full(len(count), -np.inf)
    np.minimum.at(low, prompt_of, scores)
    np.maximum.at(high, prompt_of, scores)
    flat = (low == high)[prompt_of]
    deviation = np.sqrt(np.bincount(prompt_of, centred**2) / count)[prompt_of]
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, deviation))


ADVANTAGES = {"signed": signed, "standardised": standardised}
"""`fpa.advantage` -> function of (scores, the prompt of each, threshold)."""


def pairs(graded: Graded, most: int | None, seed: int) -> np.ndarray:
    """Finds pairs of a better and a worse response to one prompt.

    Args:
        graded: the responses.
        most: how many of each prompt at most, drawn without return; None: all.
        seed: of the draw, which for a prompt depends on nothing but the seed and the prompt's number.

    Returns:
        (pairs, 2), the numbers of the better and of the worse response.
    """
    found = [np.empty((0, 2), np.int64)]
    for prompt, (start, stop) in enumerate(zip(graded.first, graded.first[1:], strict=False)):
        scores = graded.scores[start:stop]
        every = start + np.argwhere(scores[:, None] > scores[None, :])
        if most is not None and len(every) > most:
            every = every[np.sort(np.random.default_rng([seed, prompt]).choice(len(every), most, replace=False))]
        found.append(every)
    return np.concatenate(found)


class Responses(Dataset):
    """Single responses with an advantage that is not 0; those with 0 would do nothing but thin out a step."""

    def __init__(self, graded: Graded, advantages: np.ndarray) -> None:
        self._graded, self._advantages = graded, advantages
        self._prompt_of, self._kept = graded.prompt_of(), np.flatnonzero(advantages)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> list[Row]:
        response = int(self._kept[index])
        return [_of_graded(self._graded, int(self._prompt_of[response]), response, float(self._advantages[response]))]


class Pairs(Dataset):
    """Pairs: the better response, then the worse one."""

    def __init__(self, graded: Graded, found: np.ndarray) -> None:
        self._graded, self._pairs, self._prompt_of = graded, found, graded.prompt_of()

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> list[Row]:
        better, worse = self._pairs[index].tolist()
        prompt = int(self._prompt_of[better])
        return [_of_graded(self._graded, prompt, better, 1.0), _of_graded(self._graded, prompt, worse, -1.0)]


def of_samples(lines: Sequence[dict[str, Any]], most: int) -> list[list[Row]]:
    """Makes rows of at most so many samples, evenly spread; the advantage of each is 1.

    Args:
        lines: of `sampling.read`; responses without a token are left out.
        most: how many.

    Returns:
        Items of one row.
    """
    every = [(line["prompt_ids"], ids) for line in lines for ids in line["response_ids"] if ids]
    step = max(1, -(-len(every) // most))
    return [[_row(np.asarray(prompt), np.asarray(ids), 1.0)] for prompt, ids in every[::step]]


def _of_graded(graded: Graded, prompt: int, response: int, advantage: float) -> Row:
    row = _row(graded.prompts.row(prompt), graded.responses.row(response), advantage)
    if graded.ref_log_probs is not None:
        kept = graded.ref_log_probs.row(response)
        row["ref_log_probs"] = torch.zeros(len(row["input_ids"]))
        # as a model's log-probs stand: at the position before the token
        row["ref_log_probs"][-1 - len(kept) : -1] = torch.from_numpy(kept.copy())
    return row


def _row(prompt_ids: np.ndarray, response_ids: np.ndarray, advantage: float) -> Row:
    ids = torch.from_numpy(np.concatenate([prompt_ids, response_ids]).astype(np.int64))
    mask = torch.zeros_like(ids)
    mask[len(prompt_ids) :] = 1
    return {
        "input_ids": ids,
        "position_ids": torch.arange(len(ids)),
        "loss_mask": mask,
        "advantages": torch.tensor(advantage, dtype=torch.float64),
    }
