"""Makes a batch for verl's engines of rows from `offline_data`."""

from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from verl.utils.dataset.dataset_utils import SFTTensorCollator

from frpo_verl.trainers.offline_data import Row


class Collator(SFTTensorCollator):
    """verl's collator for items of several rows, and for one number of each row."""

    def __call__(self, batch: Sequence[list[Row]]) -> dict[str, Any]:
        """Returns the batch: nested tensors of rows of their own length, and `advantages` (rows,)."""
        rows = [dict(row) for item in batch for row in item]
        advantages = torch.stack([row.pop("advantages") for row in rows])
        return {**super().__call__(rows), "advantages": advantages}


def fields(config: DictConfig, pad_token_id: int, rows: int) -> dict[str, Any]:
    """Returns what verl's `fit` adds to a batch of so many rows over all ranks, with dynamic micro-batches."""
    return {
        "use_remove_padding": config.model.use_remove_padding,
        "use_dynamic_bsz": True,
        "max_token_len_per_gpu": config.data.max_token_len_per_gpu,
        "temperature": 1.0,
        "global_batch_size": rows,
        "pad_mode": config.data.pad_mode,
        "pad_token_id": pad_token_id,
    }
