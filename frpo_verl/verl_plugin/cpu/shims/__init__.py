"""Every change that the CPU platform makes to verl and vLLM, one file each."""

from frpo_verl.verl_plugin.cpu.shims import (
    fsdp_engine,
    gloo_backend,
    pinned_memory,
    replay_poll,
    vllm_linear,
    vllm_version,
    weight_receiver,
    weight_sender,
)
from frpo_verl.verl_plugin.cpu.shims.shim import Shim

SHIMS: tuple[Shim, ...] = (
    vllm_version.SHIM,
    fsdp_engine.SHIM,
    gloo_backend.SHIM,
    pinned_memory.SHIM,
    weight_receiver.SHIM,
    weight_sender.SHIM,
    vllm_linear.SHIM,
    replay_poll.SHIM,
)
