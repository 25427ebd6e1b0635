"""Lets a mixture's router work without TransformerEngine."""

import inspect
from types import ModuleType

from frpo_verl.verl_plugin.cpu.shims.shim import Shim


def _is_needed(moe_utils: ModuleType) -> bool:
    return not hasattr(moe_utils, "te_general_gemm")


def _apply(moe_utils: ModuleType) -> None:
    if "te_general_gemm is not None" not in inspect.getsource(moe_utils.RouterGatingLinearFunction):
        raise AttributeError("RouterGatingLinearFunction no longer asks whether te_general_gemm is None")
    moe_utils.te_general_gemm = None


SHIM = Shim(
    name="router without TransformerEngine",
    module="megatron.core.transformer.moe.moe_utils",
    hosts=("megatron-core",),
    versions=("0.16.1",),
    reason="Megatron-Core reads a name that it defines only where TransformerEngine is installed",
    is_needed=_is_needed,
    apply=_apply,
)
