"""How many parameters a rank of real Megatron holds; for tests, in a process of its own.

Run with a JSON list of cases on standard input; writes one number of parameters for each, outside of experts and in
them. No other rank is there: torch's own fake process groups answer for them.
"""

import json
import sys
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import TransformerConfig
from torch.testing._internal.distributed.fake_pg import FakeStore

# The last stage's copy of a tied embedding is moved there; counting needs no GPU.
torch.Tensor.cuda = lambda self, *_, **__: self


def parameters(case: dict[str, Any]) -> list[int]:
    """Parameters of `case["rank"]`, outside of experts and in them."""
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=case["rank"], world_size=case["ranks"])
    parallel_state.initialize_model_parallel(
        case["tensor"],
        case["pipeline"],
        expert_model_parallel_size=case["expert"],
        expert_tensor_parallel_size=case["expert_tensor"],
        create_gloo_process_groups=False,
    )
    try:
        made = _model(case)
        experts = sum(size.numel() for name, size in made.named_parameters() if ".experts." in name)
        return [sum(size.numel() for size in made.parameters()) - experts, experts]
    finally:
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()


def _model(case: dict[str, Any]) -> GPTModel:
    model, experts = case["model"], case["model"].get("num_experts")
    config = TransformerConfig(
        num_layers=model["num_hidden_layers"],
        hidden_size=model["hidden_size"],
        num_attention_heads=model["num_attention_heads"],
        num_query_groups=model["num_key_value_heads"],
        kv_channels=model["head_dim"],
        ffn_hidden_size=model["intermediate_size"],
        num_moe_experts=experts,
        moe_ffn_hidden_size=model.get("moe_intermediate_size"),
        moe_router_topk=model.get("num_experts_per_tok", 2),
        moe_token_dispatcher_type="allgather",
        tensor_model_parallel_size=case["tensor"],
        pipeline_model_parallel_size=case["pipeline"],
        expert_model_parallel_size=case["expert"],
        expert_tensor_parallel_size=case["expert_tensor"],
        pipeline_dtype=torch.float32,
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        normalization="RMSNorm",
        qk_layernorm=True,
        add_bias_linear=False,
        use_cpu_initialization=True,
    )
    spec = get_gpt_layer_local_spec(experts, qk_layernorm=True, normalization="RMSNorm")
    return GPTModel(
        config,
        spec,
        vocab_size=model["vocab_size"],
        max_sequence_length=64,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
        share_embeddings_and_output_weights=model["tie_word_embeddings"],
        position_embedding_type="rope",
    )


if __name__ == "__main__":
    print(json.dumps([parameters(case) for case in json.load(sys.stdin)]))
