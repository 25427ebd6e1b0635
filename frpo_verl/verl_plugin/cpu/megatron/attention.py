"""Computes causal attention for Megatron's layers with PyTorch's kernel: padded or packed, with context parallelism.

softmax(q kᵀ · scale + causal mask) v
"""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from torch import Tensor

from frpo_verl.preflight.errors import HostError


class CpuAttention(MegatronModule):
    """Replaces TransformerEngine's `TEDotProductAttention`."""

    def __init__(
        self,
        config: Any,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        **_: Any,
    ) -> None:
        super().__init__(config=config)
        dropout = config.attention_dropout if attention_dropout is None else attention_dropout
        for unfit, what in (
            (attention_type != "self", f"attention_type={attention_type}"),
            (attn_mask_type not in (AttnMaskType.causal, AttnMaskType.padding_causal), f"{attn_mask_type}"),
            (dropout, f"attention_dropout={dropout}"),
            (getattr(config, "window_size", None) is not None, "a sliding window"),
            (getattr(config, "softmax_type", "vanilla") != "vanilla", "attention sinks"),
        ):
            if unfit:
                raise HostError(
                    f"{what}: the CPU's Megatron engine has only plain causal self-attention; use another model"
                )
        self.scale = softmax_scale

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: Any = None,
        **_: Any,
    ) -> Tensor:
        """Attends from this rank's part of the context: (length, rows, heads, width) or packed (tokens, heads, width).

        The output joins heads and width. The mask is ignored: rows are padded at their end, where causal attention does
        not look. `packed_seq_params` says where each sequence of a packed batch ends, in the whole context.
        """
        if attention_bias is not None:
            raise HostError("an attention bias: the CPU's Megatron engine has only plain causal self-attention")
        if packed_seq_params is None:
            # Rows of equal length are packed sequences of equal length.
            length, rows = query.shape[:2]
            whole = [length * _context_size()] * rows
            packed = self._attend(*(part.transpose(0, 1).flatten(0, 1) for part in (query, key, value)), whole)
            return packed.view(rows, length, -1).transpose(0, 1)
        ends = packed_seq_params.cu_seqlens_q_padded
        ends = packed_seq_params.cu_seqlens_q if ends is None else ends
        return self._attend(query, key, value, ends.diff().tolist())

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
        size, rank = _context_size(), _context_rank()
        if size > 1:
            key, value = (_gathered(part, parallel_state.get_context_parallel_group()) for part in (key, value))
            order = torch.cat([part for r in range(size) for part in _held_of_all(lengths, r, size)]).argsort()
            key, value = key[order], value[order]
        own = [length // size for length in lengths]
        outputs = []
        for q, k, v, length in zip(query.split(own), key.split(lengths), value.split(lengths), lengths, strict=True):
            q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in (q, k, v))
            if size == 1:
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale, enable_gqa=True)
            else:
                seen = held(length, rank, size)[:, None] >= torch.arange(length)
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=self.scale, enable_gqa=True)
            outputs.append(out[0].transpose(0, 1).flatten(1))
        return torch.cat(outputs)


def held(length: int, rank: int, size: int) -> Tensor:
    """Returns the positions of a sequence that a context-parallel rank holds: Megatron's chunks r and 2·size − 1 − r.

    They are ascending, (length / size,); `length` is a multiple of 2·size.
    """
    positions = torch.arange(length)
    if size == 1:
        return positions
    chunks = positions.chunk(2 * size)
    return torch.cat([chunks[rank], chunks[2 * size - 1 - rank]])


def _held_of_all(lengths: list[int], rank: int, size: int) -> list[Tensor]:
    starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    return [start + held(length, rank, size) for start, length in zip(starts, lengths, strict=False)]


class _Gather(torch.autograd.Function):
    """Concatenates all ranks' parts; the backward pass sums the gradients of all ranks for this rank's part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Any) -> Tensor:
        ctx.group, ctx.rows = group, len(part)
        parts = [torch.empty_like(part) for _ in range(torch.distributed.get_world_size(group))]
        torch.distributed.all_gather(parts, part.contiguous(), group=group)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # A copy: all_reduce works in place, and others may hold the gradient that autograd passes in.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(gradient, group=ctx.group)
        rank = torch.distributed.get_rank(ctx.group)
        return gradient[rank * ctx.rows : (rank + 1) * ctx.rows], None


def _gathered(part: Tensor, group: Any) -> Tensor:
    return _Gather.apply(part, group)


def _context_size() -> int:
    return parallel_state.get_context_parallel_world_size()


def _context_rank() -> int:
    return parallel_state.get_context_parallel_rank()
