"""Runs inside the actor workers: measures the divergence of the current policy and, if asked, subtracts it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from frpo_verl.advantage.variant import divergence_to_go
from frpo_verl.masking import zero_where_masked
from frpo_verl.preflight.errors import BatchError
from frpo_verl.verl_plugin import note, sampled
from frpo_verl.verl_plugin.reduction import token_mean

_READ = ("advantages", "old_log_probs", "ref_log_prob", "response_mask")


def with_current_divergence(host: Callable, config: Any, model_output: dict, data: Any, dp_group: Any = None) -> Any:
    """Runs verl's `ppo_loss` on one micro-batch, as its note says; the batch's tensors stay as they are.

    Adds to verl's metrics `frpo/divergence_to_ref/token_mean` and `frpo/drift_from_old/token_mean` under the current
    policy, and `frpo/subtracted/token_mean`, β·reg, where it is subtracted here; verl prefixes them with `actor/`.
    """
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.padding import no_padding_2_padding

    text = tu.get_non_tensor_data(data=data, key=note.KEY, default=None)
    if text is None or (told := note.read(text)).generator is None:
        return host(config, model_output, data, dp_group)
    if "ref_log_prob" not in data:
        raise BatchError(f"the actor's batch has no 'ref_log_prob', it holds {sorted(data.keys())}")
    log_prob = no_padding_2_padding(model_output["log_probs"], data).detach()
    read = [name for name in (*_READ, sampled.COUNTED, sampled.FIELD) if name in data]
    padded = data.select(*read).to_padded_tensor()
    mask, log_ratio = padded["response_mask"], log_prob - _exact(padded["ref_log_prob"])
    # Those that verl divides by: every figure is a mean over them.
    valid = padded.get(sampled.COUNTED, mask).bool()
    counted = data["batch_num_tokens"], data["dp_size"]
    subtracted = {}
    if told.beta is not None:
        kept, importance = padded.get(sampled.FIELD, valid), log_prob - _exact(padded["old_log_probs"])
        reg = divergence_to_go(log_ratio, kept, told.generator, told.variant, None, log_importance=importance)
        advantages = current_advantages(padded["advantages"], reg, mask, told.beta)
        subtracted[note.SUBTRACTED] = token_mean(told.beta * reg, valid, *counted)
        data = data.copy()
        data["advantages"] = _like(data["advantages"], advantages)
    loss, figures = host(config, model_output, data, dp_group)
    figures.update(subtracted)
    divergence = told.generator.future(zero_where_masked(log_ratio, valid))
    drift = zero_where_masked(_exact(padded["old_log_probs"]) - log_prob, valid)
    for name, values in (("divergence_to_ref", divergence), ("drift_from_old", drift)):
        figures[f"frpo/{name}/token_mean"] = token_mean(values, valid, *counted)
    return loss, figures


def current_advantages(advantages: Tensor, reg: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    """Returns Â_{i,t} − β · reg_{i,t}, where reg is of the policy as it is at this mini-batch, detached.

    The policy loss then multiplies it by the importance ratio ρ and clips it, as it does the reward's part. Masked
    slots keep what they hold.

    See "Future-KL Regularized GRPO" (https://arxiv.org/abs/2601.10201), Appendix E and G.4.
    """
    return torch.where(response_mask.bool(), advantages - beta * reg.to(advantages.dtype), advantages)


def _exact(log_prob: Tensor) -> Tensor:
    """Returns log-probs from which those of half precision can be subtracted, too: it has three digits."""
    return log_prob.to(torch.promote_types(log_prob.dtype, torch.float32))


def _like(advantages: Tensor, padded: Tensor) -> Tensor:
    """Returns the padded advantages in the layout that the host sent: rows of their own length, or padded."""
    if not advantages.is_nested:
        return padded
    lengths = advantages.offsets().diff()
    kept = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
    # Without it the host would pad to the number of tokens.
    longest = padded.shape[1]
    return torch.nested.nested_tensor_from_jagged(padded[kept], advantages.offsets(), max_seqlen=longest)
