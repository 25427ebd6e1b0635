"""The file: whole or not there, and what it says of itself."""

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from frpo_verl.offline import table  # noqa: E402
from frpo_verl.offline.groups import Group, Response  # noqa: E402
from frpo_verl.trainers.graded import said_of  # noqa: E402

PROMPTS = pa.table({"prompt": ["p", "q", "r"], "data_source": ["s", "t", "u"]})


def groups(count=2):
    for row in range(count, 0, -1):
        yield Group(row, [Response("a", 1.0, [1, 2], [-1.0, -0.5]), Response("b", 0.0, [], [])], [7, row])


def test_rows_are_those_of_the_groups_with_their_prompts_columns(tmp_path):
    table.write(tmp_path / "o.parquet", groups(), PROMPTS, lambda: {"counts": {"n": 2}})
    found = parquet.read_table(tmp_path / "o.parquet")
    assert found.to_pylist()[0] == {
        "prompt": "r",
        "responses": ["a", "b"],
        "scores": [1.0, 0.0],
        "prompt_ids": [7, 2],
        "response_ids": [[1, 2], []],
        "log_probs": [[-1.0, -0.5], []],
        "data_source": "u",
    }
    assert found["data_source"].to_pylist() == ["u", "t"]
    assert said_of(tmp_path / "o.parquet") == {"counts": {"n": 2}}


def test_columns_that_are_not_known_are_not_there(tmp_path):
    table.write(tmp_path / "o.parquet", [Group(0, [Response("a", 1.0, step=3)])], PROMPTS, dict)
    assert parquet.read_table(tmp_path / "o.parquet").drop(["data_source"]).to_pylist() == [
        {"prompt": "p", "responses": ["a"], "scores": [1.0], "steps": [3]}
    ]


def test_more_prompts_than_are_in_memory_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "AT_ONCE", 1)
    table.write(tmp_path / "o.parquet", groups(), PROMPTS, dict)
    assert parquet.read_table(tmp_path / "o.parquet")["prompt"].to_pylist() == ["r", "q"]


def test_what_fails_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "AT_ONCE", 1)

    def broken():
        yield from groups()
        raise KeyboardInterrupt

    (tmp_path / "o.parquet").write_text("older")
    with pytest.raises(KeyboardInterrupt):
        table.write(tmp_path / "o.parquet", broken(), PROMPTS, dict)
    with pytest.raises(table.NothingToWrite):
        table.write(tmp_path / "o.parquet", [], PROMPTS, dict)
    assert [path.name for path in tmp_path.iterdir()] == ["o.parquet"]
    assert (tmp_path / "o.parquet").read_text() == "older"
    assert said_of(tmp_path / "o.parquet") is None
