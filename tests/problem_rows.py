"""Makes sources of problems, and builds and reads parquet files from them."""

import json
from pathlib import Path

import pyarrow.parquet

from frpo_verl import data

SCHEMA = {"data_source", "prompt", "ability", "reward_model", "extra_info"}


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sums(count: int, first: int = 0) -> list[dict]:
    """Problems with whole numbers as answers, all different."""
    numbers = range(first, first + count)
    return [{"problem": f"What is ${n} + 1$?", "answer": str(n + 1), "id": f"sum-{n}"} for n in numbers]


def built(folder: Path, name: str, rows: list[dict], **options) -> data.Built:
    """Builds a set from a file next to the folder; dapo_math_17k is a train set of any size."""
    return data.build(name, output=folder, source=jsonl(folder.parent / f"{name}.jsonl", rows), **options)[0]


def rows_of(path: Path) -> list[dict]:
    return pyarrow.parquet.read_table(path).to_pylist()


def asked(path: Path) -> list[str]:
    """The problems of a parquet file as their writer had them."""
    end = " Let's think step by step and output the final answer within \\boxed{}."
    contents = [row["prompt"][-1]["content"] for row in rows_of(path)]
    assert all(content.endswith(end) for content in contents)
    return [content[: -len(end)] for content in contents]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
