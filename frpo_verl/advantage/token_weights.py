"""Lists the methods that weigh tokens: Â_{i,t} ← w_{i,t} · Â_{i,t}. There are none yet."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

Weigh = Callable[[Mapping[str, Tensor], Tensor, Mapping[str, Any]], Tensor]
"""(fields, group, algorithm) → weights, (bs, length): the fields asked for, with `response_mask`; the number of each
response's group; verl's `algorithm` section."""


class TokenWeight(NamedTuple):
    """One way to weigh tokens, and the fields of the batch that it reads."""

    weigh: Weigh
    fields: tuple[str, ...]


TOKEN_WEIGHTS: dict[str, TokenWeight] = {}
"""Name -> method."""
