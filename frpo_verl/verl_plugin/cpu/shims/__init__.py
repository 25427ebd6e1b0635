"""Every change that the CPU platform makes to verl and vLLM, one file each."""

from frpo_verl.verl_plugin.cpu.shims import (
    checkpoint_engine,
    fsdp_engine,
    gloo_backend,
    megatron_engine,
    megatron_float32,
    megatron_layers,
    megatron_random,
    megatron_router,
    megatron_split_sizes,
    pinned_memory,
    replay_poll,
    saved_weights,
    value_model,
    vllm_linear,
    vllm_version,
    weight_receiver,
    weight_sender,
)
from frpo_verl.verl_plugin.cpu.shims.shim import Shim

SHIMS: tuple[Shim, ...] = (
    vllm_version.SHIM,
    checkpoint_engine.SHIM,
    fsdp_engine.SHIM,
    gloo_backend.SHIM,
    pinned_memory.SHIM,
    weight_receiver.SHIM,
    weight_sender.SHIM,
    saved_weights.SHIM,
    value_model.SHIM,
    vllm_linear.SHIM,
    replay_poll.SHIM,
    megatron_engine.SHIM,
    megatron_layers.SHIM,
    megatron_random.SHIM,
    megatron_router.SHIM,
    megatron_split_sizes.SHIM,
    megatron_float32.SHIM,
)
