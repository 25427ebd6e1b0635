"""Reads graded responses: parquet with a row for each prompt, and in it its responses and their scores."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frpo_verl.trainers import sampling, unfit_rows
from frpo_verl.trainers.ragged import Ragged

METADATA = "frpo_verl"
"""Key of the file's own metadata: JSON whose `tokenizer` is the fingerprint of the vocabulary that its ids are of."""

KEY = "data.train_files"


class Graded(NamedTuple):
    """Holds what the files say.

    Attributes:
        prompts: token ids of each prompt.
        responses: token ids of each response, those of the first prompt first.
        scores: of each response.
        first: the responses of prompt i are those from `first[i]` on, before `first[i + 1]`.
        ref_log_probs: log π_ref of each token of each response, where it is kept.
    """

    prompts: Ragged
    responses: Ragged
    scores: np.ndarray
    first: np.ndarray
    ref_log_probs: Ragged | None = None

    def prompt_of(self) -> np.ndarray:
        """Returns the prompt's number of each response."""
        return np.repeat(np.arange(len(self.prompts)), np.diff(self.first))


class Reading(NamedTuple):
    """Holds what was read, and a sentence for everything that is wrong with it; one of the two is empty."""

    graded: Graded | None
    problems: list[str]


def fingerprint(tokenizer: Any) -> str:
    """Names a vocabulary: equal for tokenizers that give every id the same meaning."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def read(files: Sequence[str], tokenizer: Any, longest: int) -> Reading:
    """Reads files of graded responses.

    Args:
        files: their paths.
        tokenizer: the policy's.
        longest: how many tokens a prompt and its response may have together.

    Returns:
        All rows of all files, or all that is wrong with them.
    """
    parts, problems = [], []
    for name in files:
        part, wrong = _file(Path(name).expanduser(), tokenizer, longest, f"{KEY}={name}")
        parts.append(part)
        problems += wrong
    if not files:
        problems.append(f"{KEY}: it names no file; give a parquet file of graded responses")
    return Reading(None, problems) if problems else Reading(_joined(parts), [])


def said_of(path: Path) -> dict[str, Any] | None:
    """Returns a file's metadata of ours; None where it has none."""
    from pyarrow import ArrowException, parquet

    try:
        return json.loads((parquet.read_metadata(path).metadata or {})[METADATA.encode()])
    except (ArrowException, OSError, KeyError, ValueError):
        return None


def listed(value: Any) -> list[str]:
    """Returns the files that a setting names: none, one, or a list."""
    return [str(value)] if isinstance(value, str) else [str(name) for name in value or ()]


def _file(path: Path, tokenizer: Any, longest: int, where: str) -> tuple[Graded | None, list[str]]:
    from pyarrow import ArrowException, parquet

    if not path.is_file():
        return None, [f"{where}: there is no such file; correct the path, or make it by {unfit_rows.COMMAND}"]
    try:
        table = parquet.read_table(path).combine_chunks()
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        return None, [f"{where}: not a valid parquet file ({reason}); make it by {unfit_rows.COMMAND}"]
    if problems := list(unfit_rows.of_table(table, where)):
        return None, problems
    metadata = said_of(path) or {}
    if metadata.get("tokenizer", fingerprint(tokenizer)) != fingerprint(tokenizer):
        return None, [
            f"{where}: its token ids are those of {metadata.get('model', 'another model')}, whose vocabulary is not "
            "the policy's; sample from the policy, or leave out prompt_ids and response_ids"
        ]
    graded = _graded(table, tokenizer)
    return graded, list(unfit_rows.of_tokens(graded, len(tokenizer), longest, where))


def _graded(table: Any, tokenizer: Any) -> Graded:
    import pyarrow.compute as pc

    counts = pc.list_value_length(table["scores"].combine_chunks()).to_numpy(zero_copy_only=False).astype(np.int64)
    read = unfit_rows.columns(table.schema.names)
    if read == unfit_rows.IDS:
        prompts, responses = (Ragged.of_column(table[name].combine_chunks()) for name in read)
    else:
        prompts = Ragged.of_rows(sampling.prompt_ids(tokenizer, prompt) for prompt in table["prompt"].to_pylist())
        texts = (text for group in table["responses"].to_pylist() for text in group)
        responses = Ragged.of_rows(_response_ids(tokenizer, text) for text in texts)
    scores = table["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return Graded(prompts, responses, scores, np.concatenate([[0], np.cumsum(counts)]))


def _response_ids(tokenizer: Any, text: str) -> Sequence[int]:
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def _joined(parts: Sequence[Graded]) -> Graded:
    counts = np.concatenate([np.diff(part.first) for part in parts])
    return Graded(
        Ragged.joined([part.prompts for part in parts]),
        Ragged.joined([part.responses for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([[0], np.cumsum(counts)]),
    )
