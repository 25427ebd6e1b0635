"""Tests what `verify` finds."""

import json
import os

import pyarrow.parquet
from problem_rows import built, names, rows_of, sums

from frpo_verl import data
from frpo_verl.data import table


def test_verify_finds_what_was_changed_lost_and_leaked(folder):
    assert data.verify(folder) == [
        f"{folder}: no set of problems was built there; frpo-verl data NAME --output {folder} builds one"
    ]
    train, test = built(folder, "dapo_math_17k", sums(50)), built(folder, "aime24", sums(30, 100))
    assert data.verify(folder) == []
    rows = rows_of(train.path)
    rows[3]["prompt"], rows[4]["prompt"] = rows_of(test.path)[0]["prompt"], rows_of(test.path)[1]["prompt"]
    schema = pyarrow.parquet.read_schema(train.path)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), train.path)
    assert data.verify(folder) == [
        f"{train.path}: its rows are not the 50 with sha256 {train.sha256[:12]}… of its manifest; build it again: "
        f"frpo-verl data dapo_math_17k --output {folder}"
    ]
    manifest = json.loads((folder / "dapo_math_17k.manifest.json").read_text())
    manifest["rows"], manifest["sha256"] = table.checksum(train.path)
    (folder / "dapo_math_17k.manifest.json").write_text(json.dumps(manifest))
    assert data.verify(folder) == [
        f"{train.path}: 2 of its problems are in aime24; build that test set again, which removes them"
    ]
    test.path.unlink()
    assert data.verify(folder) == [f"{test.path}: the file is missing, or its manifest is broken; build it again"]


def test_verify_needs_no_right_to_write(folder, monkeypatch):
    built(folder, "dapo_math_17k", sums(9))
    (folder / ".lock").unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert data.verify(folder) == []
    assert ".lock" not in names(folder)
