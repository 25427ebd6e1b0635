"""Models as their cards on the hub describe them, and how many parameters they say that they have."""

from typing import Any

from transformers import Qwen3Config, Qwen3MoeConfig

QWEN3 = {"vocab_size": 151936, "num_key_value_heads": 8, "head_dim": 128}


def qwen3(size: str) -> Any:
    """The configuration of Qwen3-1.7B, 4B or 30B-A3B."""
    if size == "1.7B":
        return Qwen3Config(
            **QWEN3, hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, num_attention_heads=16,
            tie_word_embeddings=True,
        )  # fmt: skip
    if size == "4B":
        return Qwen3Config(
            **QWEN3, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32,
            tie_word_embeddings=True,
        )  # fmt: skip
    return Qwen3MoeConfig(
        **{**QWEN3, "num_key_value_heads": 4}, hidden_size=2048, intermediate_size=6144, moe_intermediate_size=768,
        num_experts=128, num_experts_per_tok=8, num_hidden_layers=48, num_attention_heads=32,
        tie_word_embeddings=False,
    )  # fmt: skip


TINY = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
TINY_EXPERTS = {**TINY, "moe_intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 2}
