"""Registers verl's Megatron engines for the device "cpu" in verl's own registry."""

from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


def _is_needed(transformer_impl: ModuleType) -> bool:
    return "cpu" not in transformer_impl.EngineRegistry._engines["language_model"]["megatron"]


def _apply(transformer_impl: ModuleType) -> None:
    from frpo_verl.verl_plugin.cpu.megatron import engine

    register = transformer_impl.EngineRegistry.register
    register(model_type="language_model", backend="megatron", device="cpu")(engine.CpuMegatronEngineWithLMHead)
    register(model_type="value_model", backend="megatron", device="cpu")(engine.CpuMegatronEngineWithValueHead)


SHIM = Shim(
    name="Megatron engine for the CPU",
    module="verl.workers.engine.megatron.transformer_impl",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl registers its Megatron engines only for cuda, and Megatron-Core hard-codes that device",
    is_needed=_is_needed,
    apply=_apply,
)
