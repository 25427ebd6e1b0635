"""Micro-batches as verl's actor workers get them, in both layouts, for tests of what the plugin does there."""

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

from frpo_verl.verl_plugin import kl_loss, note

ROWS, PROMPT, LENGTH = 4, 2, 5
LENGTHS = [5, 3, 4, 1]


def micro_batch(
    nested: bool, text: str | None, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, TensorDict, TensorDict]:
    """Log-probs of the current policy, the batch as verl sends it, and the same padded."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor(LENGTHS)
    kept = torch.arange(LENGTH) < lengths[:, None]
    mask = kept & (torch.rand(ROWS, LENGTH, generator=generator) > 0.2)
    mask[:, 0] = True

    def tokens() -> torch.Tensor:
        return torch.where(kept, torch.randn(ROWS, LENGTH, generator=generator), 0.0)

    now, fields = tokens(), {name: tokens() for name in ("old_log_probs", "ref_log_prob", "advantages")}
    fields["response_mask"] = mask.long()
    if weights is not None:
        fields[kl_loss.FIELD] = torch.where(kept, weights, 0.0)
    padded = TensorDict(dict(fields), ROWS)
    fields["prompts"] = torch.ones(ROWS, PROMPT, dtype=torch.long)
    fields["responses"] = torch.ones(ROWS, LENGTH, dtype=torch.long)
    if nested:
        # as verl's trainer makes them
        for name in fields:
            ends = lengths.tolist() if name != "prompts" else [PROMPT] * ROWS
            parts = [row[:end] for row, end in zip(fields[name], ends, strict=True)]
            fields[name] = torch.nested.as_nested_tensor(parts, layout=torch.jagged)
    else:
        fields["attention_mask"] = torch.cat([torch.ones(ROWS, PROMPT, dtype=torch.long), kept.long()], -1)
    data = TensorDict(fields, ROWS)
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=int(mask.sum()), global_batch_size=ROWS)
    if text is not None:
        tu.assign_non_tensor(data, **{note.KEY: text})
    return now, data, padded


def model_output(now: torch.Tensor) -> tuple[dict, torch.Tensor]:
    """Log-probs of whole sequences, flat, shifted by one token as a model gives them."""
    leaf = now.clone().requires_grad_()
    rows = [
        torch.cat([torch.zeros(PROMPT - 1), row[:length], torch.zeros(1)])
        for row, length in zip(leaf, LENGTHS, strict=True)
    ]
    return {"log_probs": torch.cat(rows)}, leaf


def actor_config(**changes):
    """verl's, without the dual clip, so that the loss is the surrogate of the papers."""
    from verl.workers.config import ActorConfig

    return ActorConfig(
        strategy="fsdp",
        ppo_mini_batch_size=ROWS,
        ppo_micro_batch_size_per_gpu=ROWS,
        clip_ratio_c=1e6,
        rollout_n=1,
        loss_agg_mode="token-mean",
        **changes,
    )
