"""Builds Megatron's layers from modules that do not need TransformerEngine."""

from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


def _is_needed(gpt_layer_specs: ModuleType) -> bool:
    return not gpt_layer_specs.HAVE_TE


def _apply(gpt_layer_specs: ModuleType) -> None:
    from frpo_verl.verl_plugin.cpu.megatron.layers import CpuNorm, CpuSpecProvider

    # The bridges name these whether TransformerEngine is installed or not; without it Megatron does not define them.
    gpt_layer_specs.TESpecProvider = CpuSpecProvider
    gpt_layer_specs.TENorm = CpuNorm
    gpt_layer_specs.HAVE_TE = True


SHIM = Shim(
    name="layers without TransformerEngine",
    module="megatron.core.models.gpt.gpt_layer_specs",
    hosts=("megatron-core",),
    versions=("0.16.1",),
    reason="the bridges ask for TransformerEngine's layers, which have no CPU build",
    is_needed=_is_needed,
    apply=_apply,
)
