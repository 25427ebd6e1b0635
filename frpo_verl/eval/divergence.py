"""Sums log-probs of graded samples in transformers: of the policy, then of a reference, one in memory at a time."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from frpo_verl.offline import model as models
from frpo_verl.trainers import graded, sampling

TOKENS = 8192
"""Tokens in one pass, at most, unless one sample is longer."""

POSITIONS = 512
"""Positions whose logits are in float32 at a time."""


class Sums:
    """Sums of log-probs of each row's samples, kept in a file, in which a stopped measurement goes on.

    Args:
        file: of lines; the first says of what they are.
        of: what the sums depend on; others are removed.
    """

    def __init__(self, file: Path, of: dict[str, Any]) -> None:
        self._file = file
        sampling.mend(file)
        with file.open("rb") as lines:
            if json.loads(lines.readline() or b"{}") != of:
                file.write_text(json.dumps(of) + "\n")

    def read(self) -> list[float]:
        """Returns the sum of each row that is there."""
        with self._file.open("rb") as lines:
            return [json.loads(line) for line in lines][1:]

    def add(self, found: float) -> None:
        """Adds the sum of the next row."""
        with self._file.open("a") as lines:
            lines.write(json.dumps(found) + "\n")


def unfit(word: str, about: dict[str, Any], are_the_policys: bool, reference: str) -> Iterator[str]:
    """Yields why the divergence to a reference cannot be measured on samples.

    Args:
        word: names the source in sentences.
        about: the file's own metadata.
        are_the_policys: whether the samples are the policy's own, at temperature 1.
        reference: the model.
    """
    where, policy = f"{word}: no divergence", about.get("model")
    if not are_the_policys or policy is None:
        yield f"{where}, since it takes samples of a known model, at --temperature 1 and --top-p 1; sample it so"
        return
    for name, model in (("the policy", policy), ("--reference", reference)):
        tokenizer, problems = models.tokenizer(model)
        yield from (f"{where} ({name}): {problem.removeprefix('--model ')}" for problem in problems)
        if tokenizer is not None and graded.fingerprint(tokenizer) != about.get("tokenizer"):
            yield f"{where}, since the vocabulary of {name} {model} is not the samples'; give a model that has it"
    if about.get("weights") != models.weights(policy):
        yield f"{where}, since {policy} has other weights now than when it was sampled; sample it again"


def measure(parquet_file: Path, model: str, kept: Path, told: Callable[[int], None]) -> list[float]:
    """Sums a model's log-probs of a file's samples.

    Args:
        parquet_file: with `prompt_ids` and `response_ids`.
        model: folder or name.
        kept: file of sums, made or continued.
        told: called with how many rows have come.

    Returns:
        The sum over all tokens of all samples, of each row.
    """
    from pyarrow import parquet

    read = parquet.ParquetFile(parquet_file)
    file = parquet_file.stat()
    of = {"model": model, "weights": models.weights(model), "samples": [file.st_size, file.st_mtime_ns]}
    sums = Sums(kept, of)
    done = len(sums.read())
    told(done)
    if done == read.metadata.num_rows:
        return sums.read()
    loaded = _loaded(model)
    for number, row in enumerate(_rows(read)):
        if number >= done:
            sums.add(math.fsum(log_probs(loaded, row["prompt_ids"], row["response_ids"])))
            told(1)
    return sums.read()


def log_probs(model: Any, prompt: Sequence[int], responses: Sequence[Sequence[int]]) -> list[float]:
    """Sums the log-probs of each response's tokens.

        Σ_t log π(o_t | q, o_{<t})

    Args:
        model: of transformers.
        prompt: token ids.
        responses: token ids of each.

    Returns:
        A sum for each response, in natural logarithms, of log-probs in float32 at temperature 1.
    """
    longest = len(prompt) + max(map(len, responses))
    rows, found = max(1, TOKENS // longest), []
    for start in range(0, len(responses), rows):
        found += _block(model, prompt, responses[start : start + rows])
    return found


@torch.inference_mode()
def _block(model: Any, prompt: Sequence[int], responses: Sequence[Sequence[int]]) -> list[float]:
    width = max(map(len, responses))
    ids = torch.zeros(len(responses), len(prompt) + width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, response in enumerate(responses):
        length = len(prompt) + len(response)
        ids[row, :length], mask[row, :length] = torch.tensor([*prompt, *response]), 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    # the last prompt token says the first of the response; nothing is asked of the last position
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=width + 1, use_cache=False).logits[:, :-1]
    said, valid = ids[:, len(prompt) :], mask[:, len(prompt) :]
    total = torch.zeros(len(responses), dtype=torch.float64, device=ids.device)
    for start in range(0, width, POSITIONS):
        part = slice(start, start + POSITIONS)
        each = logits[:, part].float().log_softmax(-1).gather(-1, said[:, part, None])[..., 0]
        total += torch.where(valid[:, part] > 0, each.double(), 0).sum(1)
    return total.tolist()


def _rows(read: Any) -> Iterator[dict[str, Any]]:
    for batch in read.iter_batches(64, columns=["prompt_ids", "response_ids"]):
        yield from batch.to_pylist()


def _loaded(model: str) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    # its bar would stand in the middle of the command's
    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "float32" if device == "cpu" else "auto"
    return AutoModelForCausalLM.from_pretrained(model, dtype=dtype).to(device).eval()
