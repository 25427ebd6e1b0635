"""What happens inside the actor workers: the divergence of the current policy, measured and, if asked for, subtracted.

The trainer's process sends a note with each batch; a worker's loss reads it. Nothing else of the configuration reaches
a worker, and nothing there is done for batches without a note.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frpo_verl.advantage.variant import Variant, divergence_to_go, formed
from frpo_verl.divergences import Generator, by_name
from frpo_verl.masking import zero_where_masked
from frpo_verl.preflight.errors import BatchError, HostError
from frpo_verl.preflight.settings import Settings

NOTE = "frpo_verl"
"""The note's key among a batch's non-tensor data."""

SUBTRACTED = "frpo/subtracted/token_mean"
"""What a worker logs when it has subtracted the term, and verl prefixes with `actor/`."""


class Note(NamedTuple):
    """What a worker is told.

    Attributes:
        beta: β of this step, or None where the trainer has already subtracted the term.
        generator: the divergence, in its form.
        variant: what is done to its sum.
    """

    beta: float | None
    generator: Generator
    variant: Variant


def note(chosen: Settings, beta: float | None) -> str:
    """Writes the note of a batch, as text: verl's transports carry plain data.

    Args:
        chosen: the run's settings.
        beta: β of this step, or None where the trainer has already subtracted the term.

    Returns:
        JSON.
    """
    return json.dumps({"beta": beta, "divergence": chosen.divergence, "variant": vars(chosen.variant)})


@functools.lru_cache(maxsize=8)
def read(text: str) -> Note:
    """Reads a note.

    Args:
        text: as `note` wrote it.

    Returns:
        What it says.
    """
    said = json.loads(text)
    variant = Variant(**said["variant"])
    return Note(said["beta"], formed(by_name(said["divergence"]), variant), variant)


def require_acknowledgement(text: str | None, figures: dict[str, Any]) -> None:
    """Ends a run whose workers were to subtract the term and did not: they would go on unregularised.

    Args:
        text: the note that went with the batch, if any.
        figures: what the trainer got back from the actor's update.

    Raises:
        HostError: the workers' figures do not say that they did.
    """
    if text is not None and read(text).beta is not None and f"actor/{SUBTRACTED}" not in figures:
        raise HostError(
            "algorithm.frpo.kl=current: the actor's workers did not subtract the divergence, so frpo-verl is not "
            "loaded in them or another loss runs there; install it on every node, set VERL_USE_EXTERNAL_MODULES="
            "frpo_verl.verl_plugin in their environment, or set algorithm.frpo.kl=rollout"
        )


def current_advantages(advantages: Tensor, log_ratio: Tensor, response_mask: Tensor, told: Note) -> Tensor:
    """Â_{i,t} − β · reg_{i,t} with the log-ratio of the policy as it is at this mini-batch, detached.

    The policy loss then multiplies it by the importance ratio ρ and clips it, as it does the reward's part.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), Appendix E and G.4.

    Args:
        advantages: (rows, length), without the divergence.
        log_ratio: (rows, length), log π_θ − log π_ref under the current parameters.
        response_mask: (rows, length), nonzero for the tokens that the policy produced.
        told: β, divergence and variant.

    Returns:
        (rows, length), detached; masked slots keep what they hold.
    """
    reg = divergence_to_go(log_ratio.detach(), response_mask, told.generator, told.variant, None)
    return torch.where(response_mask.bool(), advantages - told.beta * reg.to(advantages.dtype), advantages)


def with_current_divergence(host: Callable, config: Any, model_output: dict, data: Any, dp_group: Any = None) -> Any:
    """verl's `ppo_loss`, told what the note says.

    Args:
        host: verl's `ppo_loss`.
        config: verl's actor configuration.
        model_output: holds `log_probs` of the current policy.
        data: one micro-batch; its tensors are left as they are.
        dp_group: passed on.

    Returns:
        verl's loss, and its metrics plus `frpo/divergence_to_ref/token_mean` and `frpo/drift_from_old/token_mean`
        under the current policy, and `frpo/subtracted/token_mean`, β·reg, where it is subtracted here; verl prefixes
        them with `actor/`.

    Raises:
        BatchError: a note came, but no log-probs of the reference.
    """
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.padding import no_padding_2_padding

    text = tu.get_non_tensor_data(data=data, key=NOTE, default=None)
    if text is None:
        return host(config, model_output, data, dp_group)
    if "ref_log_prob" not in data:
        raise BatchError(f"the actor's batch has no 'ref_log_prob', it holds {sorted(data.keys())}")
    told = read(text)
    log_prob = no_padding_2_padding(model_output["log_probs"], data).detach()
    padded = data.select("advantages", "old_log_probs", "ref_log_prob", "response_mask").to_padded_tensor()
    mask, log_ratio = padded["response_mask"], log_prob - padded["ref_log_prob"]
    valid = mask.bool()
    subtracted = {}
    if told.beta is not None:
        advantages = current_advantages(padded["advantages"], log_ratio, mask, told)
        subtracted[SUBTRACTED] = _token_mean(zero_where_masked(padded["advantages"] - advantages, valid), valid, data)
        data = data.copy()
        data["advantages"] = _like(data["advantages"], advantages)
    loss, figures = host(config, model_output, data, dp_group)
    figures.update(subtracted)
    divergence = told.generator.future(zero_where_masked(log_ratio, valid))
    drift = zero_where_masked(padded["old_log_probs"] - log_prob, valid)
    for name, values in (("divergence_to_ref", divergence), ("drift_from_old", drift)):
        figures[f"frpo/{name}/token_mean"] = _token_mean(values, valid, data)
    return loss, figures


def _like(advantages: Tensor, padded: Tensor) -> Tensor:
    """In the layout that the host sent: rows of their own length, or padded."""
    if not advantages.is_nested:
        return padded
    lengths = advantages.offsets().diff()
    kept = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
    # Without it the host would pad to the number of tokens.
    longest = padded.shape[1]
    return torch.nested.nested_tensor_from_jagged(padded[kept], advantages.offsets(), max_seqlen=longest)


def _token_mean(values: Tensor, mask: Tensor, data: Any) -> Any:
    """This micro-batch's share of the mini-batch's token mean, over all ranks where the host counts them.

    verl counts before rejection sampling takes tokens out: with it, the mean is over the tokens from before.
    """
    from verl.utils.metric import AggregationType, Metric

    tokens, ranks = data["batch_num_tokens"], data["dp_size"]
    if tokens is None:
        return Metric(value=values.sum() / mask.sum().clamp(min=1), aggregation=AggregationType.MEAN)
    return Metric(value=values.sum() / tokens * ranks, aggregation=AggregationType.SUM)
