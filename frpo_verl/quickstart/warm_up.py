"""Teaches a small model the task, then blurs it, so that sampling solves a known share of the problems."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from frpo_verl.quickstart import task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

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


def encode(
    tokenizer: "PreTrainedTokenizerFast", problems: Sequence[task.Problem], style: task.Style = task.NUMBER
) -> Examples:
    """Tokenizes the problems with their answers, for supervised learning on the answers."""
    import torch

    prompts, answers = [], []
    for problem in problems:
        chat = tokenizer.apply_chat_template(task.messages(problem, style), add_generation_prompt=True, tokenize=False)
        prompts.append(tokenizer.encode(chat, add_special_tokens=False))
        answer = style.answer.format(problem.answer) + tokenizer.eos_token
        answers.append(tokenizer.encode(answer, add_special_tokens=False))
    length = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    input_ids = torch.full((len(problems), length), tokenizer.pad_token_id)
    labels = torch.full_like(input_ids, _IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        input_ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return Examples(input_ids, labels)


def learn(model: "PreTrainedModel", examples: Examples, seed: int = 0) -> None:
    """Trains the model, in place, on the answers until it solves `LEARNED_ACCURACY` of the examples when sampled.

    Raises `RuntimeError` where that accuracy was not reached. The seed is that of the order of the examples.
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
    """Computes p(answer, end | prompt) of each problem: the chance that a sample at temperature 1 is right and ends.

    Its mean over the problems is pass@1 without sampling noise, the mean of 1 − (1 − p)^k is pass@k.
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
    """Returns the number of leading columns that are alike in all rows and precede the first predicted answer token."""
    differs = (examples.input_ids != examples.input_ids[:1]).any(0)
    learned = (examples.labels != _IGNORED).any(0).roll(-1)
    return int((differs | learned).int().argmax())
