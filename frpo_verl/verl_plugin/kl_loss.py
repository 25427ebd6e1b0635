"""Runs inside the actor workers: multiplies the KL term of verl's loss by the weights that came with the batch.

    (1/ΣLen) · Σ_i Σ_t w_{i,t} · (ρ_{i,t}·Â_i − β·D_{i,t})                (λ-GRPO, arXiv 2509.21154, eq. 9)

The advantages that come with the batch have their weights already.
"""

from collections.abc import Callable, Container, Mapping
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin.reduction import token_mean

FIELD = "frpo_token_weights"
"""The weights' field in a batch for workers; with V0's trainer also in that of the driver.

Not `token_weights`: a verl that knows this field (patches/README.md, 6) multiplies every term of the loss by it.
"""

WEIGHED = "frpo/kl_loss_weight/token_mean"
"""The figure by which a worker acknowledges that it multiplied; verl prefixes it with `actor/`."""


class _Weights:
    """The weights of a micro-batch, and whether they were used."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.used = values, False


_weights: ContextVar[_Weights | None] = ContextVar("weights", default=None)
"""Those of the micro-batch whose loss is computed."""


def with_weights(host: Callable, config: Any, model_output: dict, data: Any, dp_group: Any = None) -> Any:
    """Runs verl's `ppo_loss` on one micro-batch with its weights, if it has some.

    Adds to verl's metrics `frpo/kl_loss_weight/token_mean`, which verl prefixes with `actor/`.
    """
    if FIELD not in data:
        return host(config, model_output, data, dp_group)
    padded = data.select(FIELD, "response_mask").to_padded_tensor()
    here = _Weights(padded[FIELD])
    token = _weights.set(here)
    try:
        loss, figures = host(config, model_output, data, dp_group)
    finally:
        _weights.reset(token)
    if here.used:
        figures[WEIGHED] = token_mean(
            here.values, padded["response_mask"].bool(), data["batch_num_tokens"], data["dp_size"]
        )
    return loss, figures


def weighed_penalty(host: Callable, *args: Any, **kwargs: Any) -> Tensor:
    """Runs verl's `kl_penalty`: D_{i,t}, times w_{i,t} inside of a loss with weights."""
    penalty, here = host(*args, **kwargs), _weights.get()
    if here is None:
        return penalty
    here.used = True
    return penalty * here.values.to(penalty.dtype)


def require_acknowledgement(sent: Container[str] | None, figures: Mapping[str, Any]) -> None:
    """Ends a run whose workers were sent weights for the KL term and did not multiply by them."""
    if sent is not None and FIELD in sent and not {WEIGHED, f"actor/{WEIGHED}"} & set(figures):
        raise HostError(
            "actor_rollout_ref.actor.use_kl_loss=True with algorithm.token_weight: the actor's workers did not "
            "multiply the loss's KL term by the weights, so frpo-verl is not loaded in them or another loss runs "
            "there; install it on every node, set VERL_USE_EXTERNAL_MODULES=frpo_verl.verl_plugin in their "
            "environment, or set actor_rollout_ref.actor.use_kl_loss=False"
        )
