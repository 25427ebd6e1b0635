"""Says what is wrong with a file of graded responses: file, row, column, and how many more rows have the same."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from frpo_verl.trainers.graded import Graded

COMMAND = "`frpo-verl offline-data`"

IDS = ("prompt_ids", "response_ids")
TEXTS = ("prompt", "responses")


def columns(names: list[str]) -> tuple[str, str]:
    """Returns the columns that are read of a file: its ids where it has both, else its texts."""
    return IDS if set(IDS) <= set(names) else TEXTS


def of_table(table: Any, where: str) -> Iterator[str]:
    """Yields what is wrong with the columns of a file, and with how many responses and scores its rows have.

    Args:
        table: the file's.
        where: how a sentence starts: the key and the file.

    Yields:
        One sentence for each kind of mistake.
    """
    names = table.schema.names
    read = columns(names)
    if missing := [name for name in (*read, "scores") if name not in names]:
        yield (
            f"{where}: it has no column {', '.join(missing)}, only {', '.join(names)}; {COMMAND} makes such files, "
            "also from graded responses of your own"
        )
        return
    if table.num_rows == 0:
        yield f"{where}: it has no rows; make it again by {COMMAND}"
        return
    wrong = [sentence for name in (*read, "scores") for sentence in _type(table.schema.field(name), where)]
    wrong = wrong or [sentence for name in (*read, "scores") for sentence in _nulls(table[name], name, where)]
    yield from wrong or _counts(table, read[1], where)


def of_tokens(graded: "Graded", vocabulary: int, longest: int, where: str) -> Iterator[str]:
    """Yields what is wrong with the token ids and the scores of a file.

    Args:
        graded: the file's rows.
        vocabulary: the number of ids that the policy's tokenizer has.
        longest: how many tokens a prompt and its response may have together.
        where: how a sentence starts: the key and the file.

    Yields:
        One sentence for each kind of mistake.
    """
    prompt_of, every_prompt = graded.prompt_of(), np.arange(len(graded.prompts))
    for name, ragged, rows in (("prompt", graded.prompts, every_prompt), ("response", graded.responses, prompt_of)):
        yield from _named(ragged.lengths == 0, rows, where, f"{name}_ids", f"a {name} without a token", "leave it out")
        holder = rows[np.repeat(np.arange(len(ragged)), ragged.lengths)]
        foreign = (ragged.values < 0) | (ragged.values >= vocabulary)
        ids = f"an id that is not one of the {vocabulary} of the policy's tokenizer"
        yield from _named(foreign, holder, where, f"{name}_ids", ids, "tokenize with the policy's tokenizer")
    unfit = "a score that is not a finite number"
    yield from _named(~np.isfinite(graded.scores), prompt_of, where, "scores", unfit, "leave that response out")
    lengths = graded.prompts.lengths[prompt_of] + graded.responses.lengths
    over = f"a prompt and response of {lengths.max(initial=0)} tokens, and data.max_length={longest}"
    fix = "raise it, or leave that response out"
    yield from _named(lengths > longest, prompt_of, where, "response_ids", over, fix)


def _named(wrong: np.ndarray, rows: np.ndarray, where: str, column: str, what: str, fix: str) -> Iterator[str]:
    """Yields one sentence where anything is wrong: about the first row, and how many rows are like it."""
    if wrong.any():
        found = np.unique(rows[wrong])
        more = f" (and {len(found) - 1} more rows)" if len(found) > 1 else ""
        yield f"{where}, row {found[0]}{more}, column {column}: {what}; {fix}"


def _type(field: Any, where: str) -> Iterator[str]:
    import pyarrow.types as of

    def is_list(kind: Any) -> bool:
        return of.is_list(kind) or of.is_large_list(kind)

    def is_number(kind: Any) -> bool:
        return of.is_floating(kind) or of.is_integer(kind) or of.is_boolean(kind)

    def is_text(kind: Any) -> bool:
        return of.is_string(kind) or of.is_large_string(kind)

    def of_ids(kind: Any) -> bool:
        return is_list(kind) and of.is_integer(kind.value_type)

    fits = {
        "prompt": ("a text or chat messages", lambda kind: is_text(kind) or is_list(kind)),
        "responses": ("a list of texts", lambda kind: is_list(kind) and is_text(kind.value_type)),
        "scores": ("a list of numbers", lambda kind: is_list(kind) and is_number(kind.value_type)),
        "prompt_ids": ("a list of token ids", of_ids),
        "response_ids": ("a list of lists of token ids", lambda kind: is_list(kind) and of_ids(kind.value_type)),
    }
    meant, fit = fits[field.name]
    if not fit(field.type):
        yield f"{where}, column {field.name}: it holds {field.type}, and must hold {meant} in each row"


def _nulls(column: Any, name: str, where: str) -> Iterator[str]:
    import pyarrow.types as of

    rows = np.arange(len(column))
    array = column.combine_chunks()
    while True:
        missing = array.is_null().to_numpy(zero_copy_only=False)
        if missing.any():
            yield from _named(missing, rows, where, name, "nothing stands there", "leave that row out")
            return
        if not (of.is_list(array.type) or of.is_large_list(array.type)) or of.is_struct(array.type.value_type):
            return
        rows = np.repeat(rows, np.diff(array.offsets.to_numpy()))
        array = array.flatten()


def _counts(table: Any, responses: str, where: str) -> Iterator[str]:
    import pyarrow.compute as pc

    counted, scored = (
        pc.list_value_length(table[name].combine_chunks()).to_numpy(zero_copy_only=False)
        for name in (responses, "scores")
    )
    rows = np.arange(len(counted))
    if (differ := counted != scored).any():
        first = int(np.flatnonzero(differ)[0])
        what = f"{scored[first]} scores for {counted[first]} responses"
        yield from _named(differ, rows, where, "scores", what, "give one score to each response")
    yield from _named(counted == 0, rows, where, responses, "no response", "leave that row out")
