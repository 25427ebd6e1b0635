"""A model of a few hundred thousand parameters that half knows the quickstart's task: for tests and dry runs.

It is made from nothing: a tokenizer with one token per byte plus the words of the prompt, and a Qwen warmed up on the
train problems, then blurred: when sampled it answers a quarter of them. From there reinforcement learning shows in few
steps. `python -m frpo_verl.quickstart.tiny FOLDER [ARCHITECTURE]` makes what a recipe trains on with TINY=1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from frpo_verl.quickstart import task
from frpo_verl.quickstart.model_folder import build_once

if TYPE_CHECKING:
    from torch import Tensor
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
"""What a model of that type has beside what all have."""

LEARNED_ACCURACY = 0.8
START_ACCURACY = 0.25

_LEARNING_RATE = 2e-3
_BATCH = 64
_CHECK_EVERY = 10
_MAX_STEPS = 1_000
_BISECTIONS = 12
_IGNORED = -100


class Examples(NamedTuple):
    """Problems as the model reads them, left-aligned."""

    input_ids: "Tensor"  # (problems, length), prompt, answer, end token, padding
    labels: "Tensor"  # the same, with everything but the answer and its end token ignored


def build(destination: Path, seed: int = 0, style: task.Style = task.NUMBER, architecture: str = "qwen2") -> Path:
    """Makes the tokenizer and the warmed-up model (float32), unless they are there.

    Args:
        destination: the folder to make; its parents are made too.
        seed: of the initial weights and the order of the warm-up. An existing folder is kept whatever it was made with.
        style: how it is asked and answers.
        architecture: one of `ARCHITECTURES`.

    Returns:
        `destination`, complete.

    Raises:
        FileExistsError: `destination` holds something else.
        RuntimeError: the warm-up did not reach `LEARNED_ACCURACY`.
    """

    def write(folder: Path) -> None:
        tokenizer = make_tokenizer(style)
        model = make_model(tokenizer, seed, architecture)
        examples = encode(tokenizer, task.split().train, style)
        warm_up(model, examples, seed)
        blur(model, examples)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return build_once(Path(destination), write)


def make_tokenizer(style: task.Style = task.NUMBER) -> "PreTrainedTokenizerFast":
    """Byte-level BPE of which only the prompt's words are merged: every string can be read, every digit is a token."""
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
    """A model of two layers with random weights whose vocabulary is exactly the tokenizer's.

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


def encode(
    tokenizer: "PreTrainedTokenizerFast", problems: Sequence[task.Problem], style: task.Style = task.NUMBER
) -> Examples:
    """Tokenizes the problems with their answers, for supervised learning on the answers."""
    import torch

    prompts, answers = [], []
    for problem in problems:
        chat = tokenizer.apply_chat_template(task.messages(problem, style), add_generation_prompt=True, tokenize=False)
        prompts.append(tokenizer.encode(chat, add_special_tokens=False))
        answers.append(tokenizer.encode(style.answer.format(problem.answer) + END, add_special_tokens=False))
    length = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    input_ids = torch.full((len(problems), length), tokenizer.pad_token_id)
    labels = torch.full_like(input_ids, _IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        input_ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return Examples(input_ids, labels)


def warm_up(model: "PreTrainedModel", examples: Examples, seed: int = 0) -> None:
    """Trains the model in place on the answers until it solves `LEARNED_ACCURACY` of the examples when sampled.

    Args:
        model: changed in place.
        examples: what it learns.
        seed: of the order of the examples.

    Raises:
        RuntimeError: the accuracy was not reached.
    """
    import torch

    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    for step in range(_MAX_STEPS):
        if step % _CHECK_EVERY == 0 and answer_probabilities(model, examples).mean() >= LEARNED_ACCURACY:
            return
        rows = torch.randperm(len(examples.labels), generator=order)[:_BATCH]
        optimizer.zero_grad()
        batch = Examples(examples.input_ids[rows], examples.labels[rows])
        loss = -_answer_log_probabilities(model, batch).mean()
        loss.backward()
        optimizer.step()
    raise RuntimeError(
        f"the warm-up did not reach an accuracy of {LEARNED_ACCURACY} in {_MAX_STEPS} steps with seed {seed}: change it"
    )


def blur(model: "PreTrainedModel", examples: Examples) -> None:
    """Scales the model's last norm, in place, until it solves `START_ACCURACY` of the examples when sampled.

    That divides all logits by one number, as a temperature does: the model knows more than its samples show. A model
    that was merely trained less has to learn each sum by itself, for which ten steps of reinforcement are too few.
    """
    scale = model.model.norm.weight.data
    sharp = scale.clone()
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        scale.copy_(sharp * middle)
        if answer_probabilities(model, examples).mean() < START_ACCURACY:
            low = middle
        else:
            high = middle


def answer_probabilities(model: "PreTrainedModel", examples: Examples) -> "Tensor":
    """Probability that a sample at temperature 1 is the right answer and then ends, p(answer, end | prompt).

    Its mean over the problems is pass@1 without sampling noise, the mean of 1 − (1 − p)^k is pass@k.

    Args:
        model: the policy.
        examples: the problems.

    Returns:
        One probability per example, (problems,).
    """
    import torch

    with torch.no_grad():
        return _answer_log_probabilities(model, examples).exp()


def _answer_log_probabilities(model: "PreTrainedModel", examples: Examples) -> "Tensor":
    from torch.nn.functional import cross_entropy

    # All prompts begin alike; reading that part once instead of once per row more than halves the work.
    shared = _shared_length(examples)
    cache = model(input_ids=examples.input_ids[:1, :shared], use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(examples.input_ids))
    logits = model(input_ids=examples.input_ids[:, shared:], past_key_values=cache).logits[:, :-1]
    losses = cross_entropy(logits.mT, examples.labels[:, shared + 1 :], ignore_index=_IGNORED, reduction="none")
    return -losses.sum(-1)


def _shared_length(examples: Examples) -> int:
    """Leading columns that are the same in all rows, short of the column that predicts the first answer token."""
    differs = (examples.input_ids != examples.input_ids[:1]).any(0)
    learned = (examples.labels != _IGNORED).any(0).roll(-1)
    return int((differs | learned).int().argmax())


def main(arguments: Sequence[str]) -> None:
    """Writes FOLDER/model, FOLDER/train.parquet and FOLDER/val.parquet for a recipe; a model that is there is kept.

    Args:
        arguments: the command line without the program's name.
    """
    parser = argparse.ArgumentParser(prog="python -m frpo_verl.quickstart.tiny", description=main.__doc__.split(";")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("architecture", nargs="?", choices=ARCHITECTURES, default="qwen3")
    options = parser.parse_args(arguments)
    build(options.folder / "model", style=task.BOXED, architecture=options.architecture)
    for written, name in zip(task.write(options.folder, style=task.BOXED), ("train", "val"), strict=True):
        written.replace(options.folder / f"{name}.parquet")


if __name__ == "__main__":
    main(sys.argv[1:])
