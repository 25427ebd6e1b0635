"""Builds Megatron's transformer layer without TransformerEngine, under TransformerEngine's parameter names.

The bridges between Hugging Face's and Megatron's weights know only those names, so they cannot load Megatron's own
layers without TransformerEngine (`LocalSpecProvider`), whose attention also takes no packed sequences.
"""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.models.backends import LocalSpecProvider
from megatron.core.tensor_parallel.layers import ColumnParallelLinear
from megatron.core.transformer.mlp import MLPSubmodules
from megatron.core.transformer.moe.experts import TEGroupedMLP
from torch import Tensor

from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin.cpu.megatron.attention import CpuAttention
from frpo_verl.verl_plugin.cpu.megatron.experts import CpuColumnParallelGroupedLinear, CpuRowParallelGroupedLinear


class CpuNorm(torch.nn.Module):
    """Replaces `TENorm`: x / √(mean x² + ε) · weight, or a layer norm, in float32."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__()
        _refuse_what_norms_cannot_do(config)
        self.eps = eps
        self.weight = _parameter(torch.ones, hidden_size, config)
        self.bias = None if config.normalization == "RMSNorm" else _parameter(torch.zeros, hidden_size, config)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last dimension and keeps the dtype."""
        return _normalised(x, self.weight, self.bias, self.eps)


class CpuLayerNormColumnParallelLinear(ColumnParallelLinear):
    """Replaces `TELayerNormColumnParallelLinear`: a norm, then Megatron's own column-parallel linear layer."""

    def __init__(self, input_size: int, output_size: int, *, config: Any, **options: Any) -> None:
        super().__init__(input_size, output_size, config=config, **options)
        _refuse_what_norms_cannot_do(config)
        self.eps = config.layernorm_epsilon
        self.layer_norm_weight = _parameter(torch.ones, input_size, config)
        is_rms = config.normalization == "RMSNorm"
        self.layer_norm_bias = None if is_rms else _parameter(torch.zeros, input_size, config)

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Any:
        """Normalises x, (length, rows, hidden), then multiplies as Megatron's layer does."""
        return super().forward(_normalised(x, self.layer_norm_weight, self.layer_norm_bias, self.eps), *args, **options)


def _refuse_what_norms_cannot_do(config: Any) -> None:
    if config.layernorm_zero_centered_gamma:
        raise HostError("layernorm_zero_centered_gamma: the CPU's Megatron engine has only plain norms; leave it off")


def _parameter(made: Any, size: int, config: Any) -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(made(size, dtype=config.params_dtype))
    # Makes Megatron sum the gradient over the tensor-parallel ranks, each of which sees a part of the tokens.
    parameter.sequence_parallel = config.sequence_parallel
    return parameter


def _normalised(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    if bias is None:
        return F.rms_norm(x.float(), x.shape[-1:], weight.float(), eps).to(x.dtype)
    return F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias.float(), eps).to(x.dtype)


class CpuSpecProvider(LocalSpecProvider):
    """Replaces `TESpecProvider`: says which module each part of a layer uses."""

    def fuse_layernorm_and_linear(self) -> bool:
        return True

    def column_parallel_layer_norm_linear(self) -> type:
        return CpuLayerNormColumnParallelLinear

    def layer_norm(self, rms_norm: bool = False, for_qk: bool = False) -> type:
        return CpuNorm

    def core_attention(self) -> type:
        return CpuAttention

    def grouped_mlp_modules(
        self, moe_use_grouped_gemm: bool, moe_use_legacy_grouped_gemm: bool
    ) -> tuple[type, MLPSubmodules]:
        # In spite of its name this is Megatron's own code; it uses TransformerEngine's kernels only in 8-bit.
        return TEGroupedMLP, MLPSubmodules(
            linear_fc1=CpuColumnParallelGroupedLinear, linear_fc2=CpuRowParallelGroupedLinear
        )
