"""Weights that were set aside do not follow the optimizer."""

from types import ModuleType

import torch

from frpo_verl.verl_plugin.cpu.shims import saved_weights


def verls_own(model) -> tuple[dict, object]:
    """On a CPU: `.cpu()` returns the live tensor."""
    return {name: (tensor.cpu(), "spec") for name, tensor in model.items()}, "spec"


def test_set_aside_on_a_cpu_they_stay_what_they_were():
    weight = torch.zeros(3)
    host = ModuleType("verl.utils.fsdp_utils")
    host.fsdp2_sharded_save_to_cpu = verls_own
    saved_weights.SHIM.apply(host)
    state, spec = host.fsdp2_sharded_save_to_cpu({"w": weight})
    weight.add_(1)
    tensor, tensor_spec = state["w"]
    assert tensor.tolist() == [0, 0, 0] and (tensor_spec, spec) == ("spec", "spec")
