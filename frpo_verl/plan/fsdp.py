"""verl's FSDP engines: everything is spread over the ranks, a layer is put together when it is computed."""

from typing import Any

from frpo_verl.plan import activations
from frpo_verl.plan.activations import Logits
from frpo_verl.plan.engine import Batch, Engine
from frpo_verl.plan.model import Model

BYTES = {"fp32": 4, "float32": 4, "float": 4}


def engine(model: Model, section: Any, ranks: int, checkpointed: bool, batch: Batch, logits: Logits) -> Engine:
    """Bytes of `verl.workers.engine.fsdp`, for FSDP2 and, to the same figures, FSDP.

    With P parameters of which T are trained (all, or LoRA's), S ranks a shard group and b bytes of `model_dtype`
    (float32 unless set): weights P·b/S, gradients T·b/S, Adam's moments 2·T·b/S (`torch.optim.AdamW` keeps the
    parameters' dtype). For computing, units (`apply_fsdp2`: layers, and untied embeddings) are gathered in
    `mixed_precision.param_dtype`: two units, one computed and one prefetched, and what belongs to no unit, which FSDP2
    does not reshard; all of them with `reshard_after_forward=False`. A unit's gradient is whole before it is reduced
    in float32. AdamW's multi-tensor step takes as much again as the parameters (its documentation). With
    `offload_policy=True` and for a reference, everything lives in the CPU's memory.

    Args:
        model: the model.
        section: verl's `fsdp_config` (a critic's `fsdp`).
        ranks: GPUs in all.
        checkpointed: `enable_gradient_checkpointing`.
        batch: tokens of micro-batches.
        logits: how they are turned into log-probs.

    Returns:
        The engine.
    """
    shards = ranks if section.fsdp_size in (-1, 0) else min(section.fsdp_size, ranks)
    kept = BYTES.get(str(section.get("model_dtype") or "fp32"), 2)
    computed = BYTES.get(str((section.get("mixed_precision") or {}).get("param_dtype", "bf16")), 2)
    parameters = model.parameters + model.adapters
    trained = model.adapters or model.parameters
    unit = _unit(model)
    whole = _gathered(model, unit) if section.reshard_after_forward else parameters
    in_memory = 0 if section.offload_policy or section.forward_only else kept / shards
    accumulated = parameters * 4 if section.get("use_no_sync_for_gradient_accumulation") else 0
    full_layer = activations.of_layer(model)
    of_layers = activations.between_layers(model) * model.layers + full_layer if checkpointed else 0
    return Engine(
        weights=parameters * in_memory,
        gradients=trained * in_memory,
        states=2 * trained * in_memory,
        gathered=whole * computed,
        reduced=max(accumulated, (unit if trained == model.parameters else trained / model.layers) * (computed + 4)),
        step=trained * in_memory,
        update=batch.update * (of_layers or full_layer * model.layers),
        forward=batch.forward * full_layer,
        logits_update=activations.logits_of_update(model, logits, batch.update, 0),
        logits_forward=activations.logits_of_forward(model, logits, batch.forward, 0),
        keeps_weights=not section.param_offload,
        # The optimizer's zero_grad frees them.
        keeps_gradients=False,
        keeps_states=not section.optimizer_offload,
    )


def _unit(model: Model) -> float:
    """Parameters of the largest unit."""
    layer = model.in_layers / model.layers
    return max(layer, model.embedding) if model.head else max(layer, model.parameters - model.in_layers)


def _gathered(model: Model, unit: float) -> float:
    layer = model.in_layers / model.layers
    # A tied embedding stays with the root.
    return layer + unit if model.head else 2 * layer + model.parameters - model.in_layers
