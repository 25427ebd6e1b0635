"""Makes a model of a few hundred thousand parameters that half knows the quickstart's task: for tests and dry runs.

Its tokenizer has one token per byte plus the words of the prompt. The model is a Qwen, warmed up on the train problems
and blurred: when sampled it answers a quarter of them, so that reinforcement learning shows in few steps.
`python -m frpo_verl.quickstart.tiny FOLDER [ARCHITECTURE]` makes what a recipe trains on with TINY=1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frpo_verl.quickstart import task, warm_up
from frpo_verl.quickstart.atomic_folder import build_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{START}' + message['role'] + '\\n' + message['content'] + '{END}\\n' }}}}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{START}assistant\\n' }}}}{{% endif %}}"
)
CONTEXT = 128
ARCHITECTURES = {
    "qwen2": {"num_key_value_heads": 4},
    "qwen3": {"num_key_value_heads": 4, "head_dim": 32},
    "qwen3_moe": {
        "num_key_value_heads": 4,
        "head_dim": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "norm_topk_prob": True,
    },
}
"""Settings of a model of that type in addition to those that all share."""


def build(destination: Path, seed: int = 0, style: task.Style = task.NUMBER, architecture: str = "qwen2") -> Path:
    """Makes the tokenizer and the warmed-up model (float32) in `destination`, unless they are there.

    The seed is that of the initial weights and of the order of the warm-up; a model that is there is kept whatever its
    seed, style and architecture. Raises `FileExistsError` where `destination` holds something else, `RuntimeError`
    where the warm-up fails.
    """

    def write(folder: Path) -> None:
        tokenizer = make_tokenizer(style)
        model = make_model(tokenizer, seed, architecture)
        examples = warm_up.encode(tokenizer, task.split().train, style)
        warm_up.learn(model, examples, seed)
        warm_up.blur(model, examples)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return build_once(Path(destination), write)


def make_tokenizer(style: task.Style = task.NUMBER) -> "PreTrainedTokenizerFast":
    """Makes a byte-level BPE that merges the prompt's words only: it reads every string, and every digit is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        # Divisible by eight, so that it splits over tensor-parallel ranks; all merges would be a few more.
        vocab_size=328,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompts = [task.messages(problem, style) for problem in task.split().train]
    words = [text for prompt in prompts for message in prompt for text in message.values()]
    backend.train_from_iterator([*words, style.answer.format(""), "assistant"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: "PreTrainedTokenizerFast", seed: int = 0, architecture: str = "qwen2") -> "PreTrainedModel":
    """Makes a model of two layers with random weights whose vocabulary is exactly the tokenizer's.

    A larger vocabulary would leave logits that vLLM masks and the trainer does not: two different distributions.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        architecture,
        **ARCHITECTURES[architecture],
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        # With the usual 0.02 a model this small sits on a plateau for hundreds of steps.
        initializer_range=0.06,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config)


def main(arguments: Sequence[str]) -> None:
    """Writes FOLDER/model, FOLDER/train.parquet and FOLDER/val.parquet for a recipe; keeps a model that is there."""
    parser = argparse.ArgumentParser(prog="python -m frpo_verl.quickstart.tiny", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("architecture", nargs="?", choices=ARCHITECTURES, default="qwen3")
    options = parser.parse_args(arguments)
    build(options.folder / "model", style=task.BOXED, architecture=options.architecture)
    for written, name in zip(task.write(options.folder, style=task.BOXED), ("train", "val"), strict=True):
        written.replace(options.folder / f"{name}.parquet")


if __name__ == "__main__":
    main(sys.argv[1:])
