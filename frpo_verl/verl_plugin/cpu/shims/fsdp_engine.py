"""Registers verl's FSDP engines for the device "cpu" in verl's own registry."""

from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


def _is_needed(transformer_impl: ModuleType) -> bool:
    engines = transformer_impl.EngineRegistry._engines["language_model"]["fsdp2"]
    return "cpu" not in engines


def _apply(transformer_impl: ModuleType) -> None:
    register = transformer_impl.EngineRegistry.register
    register(model_type="language_model", backend="fsdp2", device="cpu")(transformer_impl.FSDPEngineWithLMHead)
    register(model_type="value_model", backend="fsdp2", device="cpu")(transformer_impl.FSDPEngineWithValueHead)


SHIM = Shim(
    name="FSDP engine for the CPU",
    module="verl.workers.engine.fsdp.transformer_impl",
    hosts=("verl",),
    versions=("0.9.1",),
    reason="verl registers its FSDP engines only for cuda and npu",
    is_needed=_is_needed,
    apply=_apply,
)
