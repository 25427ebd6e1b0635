"""Lists policy losses: pure functions of tensors, one number per token, not reduced. There are none yet."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

PerToken = Callable[[Tensor, Tensor, Tensor, Tensor, Any], Tensor]
"""(old_log_prob, log_prob, advantages, response_mask, config) → (bs, length), the loss of each token; `config` is the
actor's section of verl's configuration."""

LOSSES: dict[str, PerToken] = {}
"""Name -> loss."""
