"""Implements the linear layers of a mixture's experts, one product per expert, under TransformerEngine's names."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.dist_checkpointing.utils import replace_prefix_for_sharding
from megatron.core.tensor_parallel.layers import set_tensor_model_parallel_attributes
from megatron.core.tensor_parallel.random import get_cuda_rng_tracker, get_expert_parallel_rng_tracker_name
from megatron.core.transformer.utils import make_sharded_tensors_for_checkpoint
from megatron.core.utils import divide
from torch import Tensor

from frpo_verl.preflight.errors import HostError

_OUTPUT, _INPUT = 0, 1


class _GroupedLinear(torch.nn.Module):
    """Replaces `TEGroupedLinear`: weight0, weight1, … are the weights of this rank's experts.

    Communication is the token dispatcher's: with tensor-parallel experts it gathers and sums around these layers.
    """

    split: int

    def __init__(
        self,
        num_gemms: int,
        input_size: int,
        output_size: int,
        *,
        config: Any,
        init_method: Callable,
        bias: bool,
        pg_collection: Any,
        **_: Any,
    ) -> None:
        super().__init__()
        if bias:
            raise HostError("experts with a bias: the CPU's Megatron engine does not support them; use another model")
        size = pg_collection.expt_tp.size()
        shape = [output_size, input_size]
        shape[self.split] = divide(shape[self.split], size)
        self.num_gemms = num_gemms
        self.groups = pg_collection
        for number in range(num_gemms):
            weight = torch.nn.Parameter(torch.empty(*shape, dtype=config.params_dtype))
            if config.perform_initialization:
                with get_cuda_rng_tracker().fork(get_expert_parallel_rng_tracker_name()):
                    init_method(weight)
            # False: its gradient is summed over the ranks that hold the same experts, not over all data-parallel ones.
            weight.allreduce = config.expert_model_parallel_size == 1
            set_tensor_model_parallel_attributes(weight, is_parallel=size > 1, dim=self.split, stride=1)
            setattr(self, f"weight{number}", weight)

    def forward(self, x: Tensor, tokens_per_expert: list[int]) -> tuple[Tensor, None]:
        """Multiplies each expert's tokens, (tokens, input) sorted by expert, by its weight; returns no bias."""
        parts = x.split(tokens_per_expert)
        return torch.cat([F.linear(part, getattr(self, f"weight{n}")) for n, part in enumerate(parts)]), None

    def sharded_state_dict(self, prefix: str, sharded_offsets: tuple, metadata: dict[str, Any]) -> dict[str, Any]:
        """Returns Megatron's sharded tensors by key: one checkpointed tensor with the global experts as first axis."""
        if metadata.get("singleton_local_shards"):
            raise HostError("singleton_local_shards: the CPU platform saves experts along one axis; leave it off")
        first, experts = self.groups.ep.rank() * self.num_gemms, self.groups.ep.size() * self.num_gemms
        sharded = {}
        for number in range(self.num_gemms):
            offset = (len(sharded_offsets), first + number, experts)
            made = make_sharded_tensors_for_checkpoint(
                {f"{number}.weight": getattr(self, f"weight{number}")},
                "",
                {f"{number}.weight": self.split},
                (*sharded_offsets, offset),
                tp_group=self.groups.expt_tp,
                dp_cp_group=metadata["dp_cp_group"],
            )
            # All experts are one tensor, under one name.
            replace_prefix_for_sharding(made, f"{number}.", prefix)
            (weight,) = made.values()
            # Its copies are on the ranks that hold the same experts.
            weight.replica_id = (*weight.replica_id[:2], self.groups.expt_dp.rank())
            sharded[f"{prefix}weight{number}"] = weight
        return sharded


class CpuColumnParallelGroupedLinear(_GroupedLinear):
    """Splits the output over tensor-parallel ranks."""

    split = _OUTPUT


class CpuRowParallelGroupedLinear(_GroupedLinear):
    """Splits the input over tensor-parallel ranks."""

    split = _INPUT
