"""verl's Megatron engine: the model is split, the optimizer is spread over the copies of each part."""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

from frpo_verl.plan import activations
from frpo_verl.plan.activations import Logits
from frpo_verl.plan.engine import Batch, Engine
from frpo_verl.plan.model import Model


class Part(NamedTuple):
    """Parameters that one rank of a pipeline stage holds.

    Attributes:
        dense: outside of experts.
        experts: in experts.
        layers: how many layers the stage has.
    """

    dense: float
    experts: float
    layers: int


def parts(model: Model, section: Any) -> tuple[Part, Part]:
    """The first and the last pipeline stage, as Megatron splits them.

    Tensor parallelism splits linear layers and the vocabulary, not norms and routers; experts are split over expert
    parallel groups and by tensor parallelism of their own (`expert_tensor_parallel_size`, else the model's). The
    layers are spread evenly, the embedding is on the first stage, the output layer (tied: a copy of the embedding) and
    the last norm on the last one.

    Args:
        model: the model.
        section: verl's `megatron` section.

    Returns:
        Both; the same where there is one stage.
    """
    tensor, stages = section.tensor_model_parallel_size, section.pipeline_model_parallel_size
    of_experts = section.expert_model_parallel_size * (section.expert_tensor_parallel_size or tensor)
    layers = ceil(model.layers / stages)
    share = layers / model.layers
    dense = share * ((model.in_layers - model.experts - model.replicated) / tensor + model.replicated)
    experts = share * model.experts / of_experts
    norm = model.parameters - model.in_layers - model.embedding - model.head
    if stages == 1:
        one = Part(dense + (model.embedding + model.head) / tensor + norm, experts, layers)
        return one, one
    first = Part(dense + model.embedding / tensor, experts, layers)
    return first, Part(dense + (model.head or model.embedding) / tensor + norm, experts, layers)


def engine(
    model: Model, section: Any, optimizer: Mapping[str, Any], ranks: int, batch: Batch, logits: Logits
) -> Engine:
    """Bytes of `verl.workers.engine.megatron`, on the stage that has most.

    For each parameter: b bytes of `megatron.dtype`, 4 of the gradient buffer (`grad_reduce_in_fp32`, verl's default),
    and 12 of the optimizer (float32 weight and Adam's moments; 8 where the weights are float32), which the distributed
    optimizer divides by the data-parallel ranks, context parallelism included (Megatron-Core's documentation of
    `dist_optimizer`: 6 + 12/d bytes); experts have data-parallel ranks of their own. LoRA trains its adapters alone.
    Of the optimizer, `optimizer_cpu_offload` leaves `optimizer_offload_fraction` in the CPU's memory.
    Activations: all of a layer's (fused kernels keep less than is counted here), or its input with
    `recompute_granularity=full`, divided by tensor parallelism where `sequence_parallel` is on; the first stage holds
    as many micro-batches as there are stages (1F1B; Narayanan et al. 2021, section 2.2). The last stage has the logits.

    Args:
        model: the model.
        section: verl's `megatron` section.
        optimizer: verl's `optim` section.
        ranks: GPUs in all.
        batch: tokens of micro-batches, context parallelism taken off.
        logits: how they are turned into log-probs.

    Returns:
        The engine.
    """
    kept = 4 if "32" in str(section.dtype) else 2
    tensor, stages = section.tensor_model_parallel_size, section.pipeline_model_parallel_size
    first, last = parts(model, section)
    fullest = max(first, last, key=lambda part: part.dense + part.experts)
    trained = Part(model.adapters / tensor / stages, 0, 0) if model.adapters else fullest
    of_state = _of_state(kept, optimizer)
    states = of_state * (trained.dense + trained.experts)
    if section.use_distributed_optimizer:
        of_experts = section.expert_model_parallel_size * (section.expert_tensor_parallel_size or tensor)
        copies, of_expert = ranks / tensor / stages, ranks / stages / of_experts
        states = of_state * (trained.dense / copies + trained.experts / of_expert)
    of_layer = activations.of_layer(model) / (tensor if section.sequence_parallel else 1)
    a_micro_batch = batch.update * _kept_of_layers(model, section, first.layers, of_layer)
    at_the_end = activations.logits_of_update(model, logits, batch.update, tensor)
    at_the_start = a_micro_batch * (stages - 1)
    return Engine(
        weights=kept * (fullest.dense + fullest.experts + model.adapters / tensor / stages),
        gradients=4 * (trained.dense + trained.experts),
        states=states,
        gathered=0,
        reduced=0,
        step=0,
        # The first stage's micro-batches in flight and the last one's logits are not on one GPU.
        update=a_micro_batch + max(0, at_the_start - at_the_end),
        forward=batch.forward * of_layer,
        logits_update=at_the_end,
        logits_forward=activations.logits_of_forward(model, logits, batch.forward, tensor),
        keeps_weights=not section.param_offload,
        keeps_gradients=not section.param_offload,
        keeps_states=not section.optimizer_offload,
    )


def _of_state(kept: int, optimizer: Mapping[str, Any]) -> float:
    settings = optimizer.get("override_optimizer_config") or {}
    on_cpu = settings.get("optimizer_offload_fraction", 1) if settings.get("optimizer_cpu_offload") else 0
    return (12 if kept == 2 else 8) * (1 - on_cpu)


def _kept_of_layers(model: Model, section: Any, layers: int, of_layer: float) -> float:
    """Bytes that a stage keeps of a token."""
    settings = section.get("override_transformer_config") or {}
    if settings.get("recompute_granularity") != "full":
        return layers * of_layer
    split = section.tensor_model_parallel_size if section.sequence_parallel else 1
    together = settings.get("recompute_num_layers") or 1 if settings.get("recompute_method") == "uniform" else 1
    return layers / together * activations.between_layers(model) / split + together * of_layer
