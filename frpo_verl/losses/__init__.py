"""Lists policy losses: pure functions of tensors, one number per token, not reduced."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from frpo_verl.losses.drpo import drpo, drpo_weight
from frpo_verl.losses.drpo_outside import drpo_outside, drpo_outside_weight
from frpo_verl.losses.figures import Figures, of_region
from frpo_verl.losses.spo import spo, spo_weight

PerToken = Callable[[Tensor, Tensor, Tensor, Tensor, Any], Tensor]
"""(old_log_prob, log_prob, advantages, response_mask, config) → (bs, length), the loss of each token; `config` is the
actor's section of verl's configuration."""

FiguresPerToken = Callable[[Tensor, Tensor, Tensor, Tensor, Any], Figures]
"""Of the same arguments, numbers per token that are logged."""

Pure = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]
"""(old_log_prob, log_prob, advantages, delta_low, delta_high) → (bs, length)."""


class PolicyLoss(NamedTuple):
    """One loss and what is logged of it."""

    per_token: PerToken
    figures: FiguresPerToken


def region(config: Any) -> tuple[Any, Any]:
    """Returns δ of tokens with A ≤ 0 and of those with A > 0, from the actor's section, as verl's `dppo_tv` does."""
    low, high = config.clip_ratio_low, config.clip_ratio_high
    return config.clip_ratio if low is None else low, config.clip_ratio if high is None else high


def _of_region(loss: Pure, weight: Pure) -> PolicyLoss:
    """Makes the row of a loss whose only knob is δ."""

    def per_token(
        old_log_prob: Tensor, log_prob: Tensor, advantages: Tensor, response_mask: Tensor, config: Any
    ) -> Tensor:
        return loss(old_log_prob, log_prob, advantages, *region(config))

    def figures(
        old_log_prob: Tensor, log_prob: Tensor, advantages: Tensor, response_mask: Tensor, config: Any
    ) -> Figures:
        given = old_log_prob, log_prob, advantages, *region(config)
        return of_region(*given, weight(*given))

    return PolicyLoss(per_token, figures)


LOSSES: dict[str, PolicyLoss] = {
    "drpo": _of_region(drpo, drpo_weight),
    "drpo_outside": _of_region(drpo_outside, drpo_outside_weight),
    "spo": _of_region(spo, spo_weight),
}
"""Name -> loss."""
