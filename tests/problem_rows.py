"""Made-up sources of problems."""

import json
from pathlib import Path

import pyarrow.parquet

SCHEMA = {"data_source", "prompt", "ability", "reward_model", "extra_info"}


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sums(count: int, first: int = 0) -> list[dict]:
    """Problems with whole numbers as answers, all different."""
    numbers = range(first, first + count)
    return [{"problem": f"What is ${n} + 1$?", "answer": str(n + 1), "id": f"sum-{n}"} for n in numbers]


def rows_of(path: Path) -> list[dict]:
    return pyarrow.parquet.read_table(path).to_pylist()


def asked(path: Path) -> list[str]:
    """The problems of a parquet file as their writer had them."""
    end = " Let's think step by step and output the final answer within \\boxed{}."
    contents = [row["prompt"][-1]["content"] for row in rows_of(path)]
    assert all(content.endswith(end) for content in contents)
    return [content[: -len(end)] for content in contents]
