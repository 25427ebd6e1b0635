"""The shuffled control: FRPO with each response's divergences at the wrong tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from frpo_verl.advantage import shuffle_tokens
from frpo_verl.verl_plugin import sampled, term


@contextmanager
def shuffling(seed: int) -> Iterator[None]:
    """Permutes δ among the tokens of each response before the plugin sums it, as long as it is open.

    Every response keeps its total divergence, and every figure of it.
    """
    source, host = torch.Generator().manual_seed(seed), term.regularised

    def regularised(data: Any, *args: Any) -> Any:
        batch = data.batch
        reference = batch["ref_log_prob"]
        log_ratio = batch["old_log_probs"] - reference
        batch["ref_log_prob"] = batch["old_log_probs"] - shuffle_tokens(log_ratio, sampled.mask_of(batch), source)
        try:
            return host(data, *args)
        finally:
            batch["ref_log_prob"] = reference

    term.regularised = regularised
    try:
        yield
    finally:
        term.regularised = host
