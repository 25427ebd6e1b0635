"""Writes a parquet file of graded responses whole or not at all."""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from frpo_verl.offline.groups import Group
from frpo_verl.trainers.graded import METADATA

AT_ONCE = 512
"""Prompts that are in memory at a time."""


class NothingToWrite(Exception):
    """There is no group."""


def write(path: Path, groups: Iterable[Group], prompts: Any, about: Callable[[], dict[str, Any]]) -> None:
    """Writes a file under another name, and renames it when it is whole.

    Args:
        path: of the file.
        groups: what it gets.
        prompts: table of the prompts that `Group.row` names.
        about: returns the metadata, when all groups have been written.

    Raises:
        NothingToWrite: there are no groups.
    """
    from pyarrow import parquet

    unfinished, groups = path.with_name(f"{path.name}.writing"), iter(groups)
    part = list(itertools.islice(groups, AT_ONCE))
    if not part:
        raise NothingToWrite
    first = _table(part, prompts)
    try:
        with parquet.ParquetWriter(unfinished, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            while part := list(itertools.islice(groups, AT_ONCE)):
                writer.write_table(_table(part, prompts))
            writer.add_key_value_metadata({METADATA: json.dumps(about())})
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _table(part: Sequence[Group], prompts: Any) -> Any:
    import pyarrow as pa

    of = pa.list_
    rows = prompts.take([group.row for group in part]).combine_chunks()
    columns = {"prompt": rows["prompt"]}
    columns["responses"] = pa.array(_each(part, "text"), of(pa.string()))
    columns["scores"] = pa.array(_each(part, "score"), of(pa.float64()))
    if part[0].prompt_ids is not None:
        columns["prompt_ids"] = pa.array([list(group.prompt_ids) for group in part], of(pa.int32()))
    first = part[0].responses[0]
    if first.ids is not None:
        columns["response_ids"] = pa.array(_each(part, "ids"), of(of(pa.int32())))
    if first.log_probs is not None:
        columns["log_probs"] = pa.array(_each(part, "log_probs"), of(of(pa.float32())))
    if first.step is not None:
        columns["steps"] = pa.array(_each(part, "step"), of(pa.int64()))
    if first.pred is not None:
        columns["preds"] = pa.array(_each(part, "pred"), of(pa.string()))
    return pa.table(columns | {name: rows[name] for name in rows.schema.names if name != "prompt"})


def _each(part: Sequence[Group], field: str) -> Iterator[list[Any]]:
    return ([getattr(response, field) for response in group.responses] for group in part)
