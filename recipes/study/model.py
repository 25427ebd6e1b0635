"""Makes the study's model: a Llama of a third of a million parameters that half knows the task.

It learns from walks whose prompt is right in `HONEST` of all cases and drawn at random in the others, for problems that
are not held out. Sampled, it is therefore right for part of the problems, in many different ways.
`python -m study.model FOLDER` writes FOLDER/model and the data, unless the model is there.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frpo_verl.quickstart.atomic_folder import build_once
from study import task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
WORDS = [PAD, END, UNKNOWN, *map(str, range(task.LOWEST, task.HIGHEST + 1)), *task.STEPS, ">", "with", "="]
CONTEXT = 32
HONEST = 0.8
STEPS = 2000
_BATCH = 128
_LEARNING_RATE = 2e-3
_IGNORED = -100
# Without these, which torch reads when it is imported, each kind of x86-64 processor makes a model of its own.
_ON_ANY_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}


def make_tokenizer() -> "PreTrainedTokenizerFast":
    """Makes a tokenizer with a token for each word; the chat's last message is the prompt."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        chat_template="{{ messages[-1]['content'] }}",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def make_model(seed: int = 0) -> "PreTrainedModel":
    """Makes the model with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=WORDS.index(END),
        pad_token_id=WORDS.index(PAD),
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def learn(model: "PreTrainedModel", steps: int = STEPS, seed: int = 0) -> None:
    """Trains the model, in place, on demonstrations."""
    import torch
    from torch.nn.functional import cross_entropy

    drawn = task.demonstrations(random.Random(seed), HONEST)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        ids, labels = _encoded([next(drawn) for _ in range(_BATCH)])
        logits = model(input_ids=ids).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _encoded(pairs: Sequence[tuple[str, str]]) -> tuple["Tensor", "Tensor"]:
    import torch

    number = {word: index for index, word in enumerate(WORDS)}
    prompts, answers = (
        [[number[word] for word in text.split()] for text in texts] for texts in zip(*pairs, strict=True)
    )
    width = max(map(len, answers)) + len(prompts[0]) + 1
    ids = torch.full((len(pairs), width), number[PAD])
    labels = torch.full_like(ids, _IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        tokens = torch.tensor([*prompt, *answer, number[END]])
        ids[row, : len(tokens)] = labels[row, : len(tokens)] = tokens
        labels[row, : len(prompt)] = _IGNORED
    return ids, labels


def build(destination: Path, steps: int = STEPS, seed: int = 0) -> Path:
    """Makes tokenizer and model in `destination`, unless they are there."""

    def write(folder: Path) -> None:
        model = make_model(seed)
        learn(model, steps, seed)
        model.save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)

    return build_once(Path(destination), write)


def main(arguments: Sequence[str]) -> None:
    """Writes FOLDER/model, FOLDER/train.parquet and FOLDER/held_out.parquet; keeps a model that is there."""
    parser = argparse.ArgumentParser(prog="python -m study.model", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of supervised learning (%(default)s)")
    options = parser.parse_args(arguments)
    os.environ.update(_ON_ANY_PROCESSOR)
    build(options.folder / "model", options.steps)
    task.write(options.folder)


if __name__ == "__main__":
    main(sys.argv[1:])
