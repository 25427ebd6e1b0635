"""Weighs the tokens of a batch, w_{i,t}, by the method of `algorithm.token_weight=NAME`.

Prefixes are counted on token ids. V0's batch holds them, padded, with an attention mask; V1's trainer leaves them in
verl's TransferQueue, in rows of their own length, from where they are fetched.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from frpo_verl.advantage import count_process_sets, describe_sets, number_groups
from frpo_verl.advantage.token_weights import TOKEN_WEIGHTS, Weigh
from frpo_verl.checks import InvalidInput
from frpo_verl.preflight.errors import BatchError, SettingsError
from frpo_verl.preflight.methods import TOKEN_WEIGHT, token_weight_problems
from frpo_verl.rows import over_rows
from frpo_verl.verl_plugin import figures, term
from frpo_verl.verl_plugin.kl_loss import FIELD

NEEDED = ("prompts", "responses", "attention_mask")
"""Fields of V0's batch."""


class Tokens(NamedTuple):
    """The token ids of a batch's responses.

    Attributes:
        ids: (bs, length), anything where there is no token.
        present: (bs, length), True where a token exists, whoever wrote it.
        prompts: the token ids of each response's prompt.
    """

    ids: Tensor
    present: Tensor
    prompts: list[np.ndarray]


class Queue(NamedTuple):
    """A batch of V1's trainer in verl's TransferQueue."""

    keys: list[str]
    partition: str
    has_kl_loss: bool

    def read(self, *fields: str) -> list[Tensor]:
        """Returns fields in rows of their own length, in the batch's order."""
        import transfer_queue

        found = transfer_queue.kv_batch_get(keys=self.keys, partition_id=self.partition, select_fields=list(fields))
        return [found[field] for field in fields]

    def put(self, field: str, values: Tensor, lengths: Tensor) -> None:
        """Writes a field, cut to rows of these lengths; the trainer's next write tells the workers that it is there."""
        import transfer_queue

        rows = [row[:length] for row, length in zip(values, lengths.tolist(), strict=True)]
        nested = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        fields = TensorDict({field: nested}, batch_size=len(self.keys))
        transfer_queue.kv_batch_put(keys=self.keys, partition_id=self.partition, fields=fields)


_queue: ContextVar[Queue | None] = ContextVar("queue", default=None)
"""The batch whose advantages V1's trainer computes; None with other trainers, whose batch holds everything."""


def with_queue(host: Callable, trainer: Any, batch: Any, metrics: dict) -> Any:
    """Runs V1's `_compute_advantage`, while more fields of the batch can be read and written."""
    use_kl_loss = trainer.config.actor_rollout_ref.actor.use_kl_loss
    token = _queue.set(Queue(batch.keys, batch.partition_id, bool(use_kl_loss)))
    try:
        return host(trainer, batch, metrics)
    finally:
        _queue.reset(token)


def chosen(algorithm: Mapping[str, Any] | None) -> Weigh | None:
    """Returns the run's method, or None; raises SettingsError where it cannot run."""
    if algorithm is None or algorithm.get(TOKEN_WEIGHT) is None:
        return None
    for problem in token_weight_problems(algorithm):
        raise SettingsError(problem)
    return TOKEN_WEIGHTS[algorithm[TOKEN_WEIGHT]]


def of_batch(weigh: Weigh, data: Any, valid: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Returns w, (bs, length), with figures, and leaves w where the loss's KL term will find it.

    Raises BatchError: token ids are missing or do not fit the response mask.
    """
    tokens = _tokens(data.batch)
    _refuse_misfit(tokens, valid)
    # The trees are those of one prompt, and a rollout with several outputs has as many prompts.
    names = zip(data.non_tensor_batch["uid"], (prompt.tobytes() for prompt in tokens.prompts), strict=True)
    group = number_groups(names)
    # Nothing is learnt from a response without a valid token: one that verl pads its batch with, or has rejected.
    counted = tokens.present & torch.from_numpy(valid.numpy().any(-1, keepdims=True))
    try:
        sets = count_process_sets(tokens.ids, counted, group)
    except InvalidInput as error:
        raise BatchError(f"algorithm.{TOKEN_WEIGHT}: {error}") from None
    weights = weigh(sets, valid)
    if (queue := _queue.get()) is None:
        data.batch[FIELD] = weights
    elif queue.has_kl_loss:
        queue.put(FIELD, weights, tokens.present.sum(-1))
    return weights, figures.of_sets(describe_sets(sets, valid, group))


def times(outcome: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
    """Returns w_{i,t} · Â_{i,t}, (bs, length), of (bs,) or (bs, length); masked slots keep what stands there."""
    if outcome.dim() == 1:
        return term.spread(outcome, valid).mul_(weights)

    def of_rows(outcome: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid, outcome * weights, outcome)

    return over_rows(of_rows, outcome, weights, valid)


def _tokens(batch: TensorDict) -> Tokens:
    if (queue := _queue.get()) is not None:
        responses, prompts = queue.read("responses", "prompts")
        ids = responses.to_padded_tensor(0)
        present = torch.arange(ids.shape[1]) < responses.offsets().diff()[:, None]
        return Tokens(ids, present, [prompt.numpy() for prompt in prompts.unbind()])
    if missing := [name for name in NEEDED if name not in batch]:
        raise BatchError(
            f"algorithm.{TOKEN_WEIGHT} needs {', '.join(missing)} in the batch, which holds {sorted(batch.keys())}: "
            "leave the key out"
        )
    attended, width = batch["attention_mask"].bool(), batch["prompts"].shape[1]
    rows = zip(batch["prompts"].numpy(), attended[:, :width].numpy(), strict=True)
    return Tokens(batch["responses"], attended[:, width:], [row[there] for row, there in rows])


def _refuse_misfit(tokens: Tokens, valid: Tensor) -> None:
    if not tokens.ids.shape == tokens.present.shape == valid.shape:
        raise BatchError(
            f"algorithm.{TOKEN_WEIGHT}: token ids of shape {tuple(tokens.ids.shape)}, an attention mask of "
            f"{tuple(tokens.present.shape)} and a response mask of {tuple(valid.shape)} do not fit: look at the agent "
            "loop"
        )
    # numpy takes a fifth of torch's time for this.
    unfit = valid.numpy() > tokens.present.numpy()
    if unfit.any():
        row, token = (int(place[0]) for place in unfit.nonzero())
        raise BatchError(
            f"algorithm.{TOKEN_WEIGHT}: row {row} has {int(tokens.present[row].sum())} token ids, and a log-prob that "
            f"counts at token {token}: look at the agent loop"
        )
