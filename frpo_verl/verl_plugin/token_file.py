"""Writes two responses of a step token by token, with their advantage's two parts, next to verl's dump of rollouts.

A run that sets `trainer.rollout_data_dir` gets `tokens/STEP.jsonl` there, from V1's trainers: of the group whose
advantages of the reward are furthest apart, the response with the highest and the one with the lowest.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frpo_verl.advantage import number_groups
from frpo_verl.masking import zero_where_masked
from frpo_verl.verl_plugin.token_weights import Queue

MOST = 1024
"""Tokens of a response that are written."""


class Traced(NamedTuple):
    """Some rows of a batch: (rows,) their places and rewards, (rows, length) each the rest."""

    rows: list[int]
    scores: list[float]
    valid: Tensor
    outcome: Tensor
    advantages: Tensor
    beta: float


def traced(data: Any, outcome: Tensor, advantages: Tensor, valid: Tensor, beta: float) -> Traced | None:
    """Returns the rows to write, none where no token is valid; `outcome` is (bs,) or (bs, length), before the term."""
    tokens = valid.sum(-1)
    if not tokens.any():
        return None
    per_token = outcome[:, None].expand(valid.shape) if outcome.dim() == 1 else outcome
    of_response = zero_where_masked(per_token, valid).sum(-1) / tokens.clamp(min=1)
    rows = _telling(of_response, number_groups(data.non_tensor_batch["uid"]), tokens > 0)
    scores = data.batch["token_level_rewards"][rows].sum(-1).tolist()
    return Traced(rows, scores, valid[rows], per_token[rows].clone(), advantages[rows].clone(), beta)


def write(chosen: Traced, trainer: Any, batch: Any) -> Path:
    """Writes the rows of V1's batch, whose token ids are in verl's TransferQueue, and returns the file."""
    keys = [batch.keys[row] for row in chosen.rows]
    responses, prompts = Queue(keys, batch.partition_id, False).read("responses", "prompts")
    said = zip(responses.unbind(), prompts.unbind(), strict=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(chosen, said, trainer)]
    path = Path(trainer.config.trainer.rollout_data_dir) / "tokens" / f"{trainer.global_steps}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _telling(of_response: Tensor, group: Tensor, counted: Tensor) -> list[int]:
    """Returns the rows with the highest and the lowest value of the group whose values are furthest apart."""
    of_response = of_response.double()
    groups = int(group.max()) + 1
    high, low = (of_response.new_full((groups,), bound) for bound in (-torch.inf, torch.inf))
    high = high.scatter_reduce(0, group[counted], of_response[counted], "amax")
    low = low.scatter_reduce(0, group[counted], of_response[counted], "amin")
    members = ((group == int((high - low).argmax())) & counted).nonzero()[:, 0]
    values = of_response[members]
    return list(dict.fromkeys(members[[int(values.argmax()), int(values.argmin())]].tolist()))


def _rows(chosen: Traced, said: Any, trainer: Any) -> Iterator[dict[str, Any]]:
    for n, (ids, prompt) in enumerate(said):
        shown, valid = ids[:MOST].tolist(), chosen.valid[n][: min(MOST, len(ids))].tolist()
        outcome, advantages = chosen.outcome[n].tolist(), chosen.advantages[n].tolist()
        yield {
            "step": trainer.global_steps,
            "prompt": trainer.tokenizer.decode(prompt.tolist(), skip_special_tokens=True),
            "score": chosen.scores[n],
            "beta": chosen.beta,
            "length": len(ids),
            "tokens": [trainer.tokenizer.decode([token]) for token in shown],
            # what nobody sampled, such as a tool's answer, has no advantage
            "outcome": [_short(value) if seen else None for value, seen in zip(outcome, valid, strict=False)],
            "advantage": [_short(value) if seen else None for value, seen in zip(advantages, valid, strict=False)],
        }


def _short(value: float) -> float:
    return float(f"{value:.6g}")
