"""Tests that no problem of a test set is trained on, in whatever order sets are built."""

import json

import pytest
from problem_rows import asked, built, jsonl, names, sums

from frpo_verl import data
from frpo_verl.data import leakage, table
from frpo_verl.data.errors import DataError


@pytest.mark.parametrize("train_first", [True, False])
def test_no_problem_of_a_test_set_is_trained_on_whichever_was_built_first(folder, train_first):
    tested = [row | {"id": 0, "problem": f"  {row['problem']}".replace("What", "WHAT")} for row in sums(30, 10)]
    steps = [lambda: built(folder, "dapo_math_17k", sums(50)), lambda: built(folder, "aime24", tested)]
    _, second = (step() for step in (steps if train_first else steps[::-1]))
    assert asked(folder / "dapo_math_17k.parquet") == [row["problem"] for row in sums(10) + sums(10, 40)]
    manifest = json.loads((folder / "dapo_math_17k.manifest.json").read_text())
    assert (manifest["rows"], manifest["dropped"]) == (20, {"in aime24": 30})
    assert second.taken == ({"dapo_math_17k": 30} if train_first else {})
    assert data.verify(folder) == []
    assert built(folder, "dapo_math_17k", sums(50)).rows == 20


@pytest.mark.parametrize("again", ["aime24", "dapo_math_17k"])
def test_killed_before_its_problems_are_taken_out_the_next_command_does_it(folder, monkeypatch, again):
    def killed(_):
        raise KeyboardInterrupt

    rows = {"dapo_math_17k": [*sums(50), *sums(2)], "aime24": sums(30, 40)}
    built(folder, "dapo_math_17k", rows["dapo_math_17k"])
    monkeypatch.setattr(leakage, "clean", killed)
    with pytest.raises(KeyboardInterrupt):
        built(folder, "aime24", rows["aime24"])
    monkeypatch.undo()
    [leaked] = data.verify(folder)
    assert leaked.endswith("10 of its problems are in aime24; build that test set again, which removes them")

    [done] = data.build(again, output=folder, source=str(folder.parent / f"{again}.jsonl"))
    assert done.reused and done.taken == ({"dapo_math_17k": 10} if again == "aime24" else {})
    assert asked(folder / "dapo_math_17k.parquet") == [row["problem"] for row in sums(40)]
    assert (done.rows, done.dropped) == ((30, {}) if again == "aime24" else (40, {"duplicate": 2, "in aime24": 10}))
    assert data.verify(folder) == []


def test_the_order_of_building_changes_nothing(folder):
    sets = {"dapo_math_17k": sums(50), "aime24": sums(30, 10), "aime25": sums(30, 45)}
    for place, order in (("one", list(sets)), ("other", list(sets)[::-1])):
        for name in order:
            built(folder / place, name, sets[name])
    one, other = (table.checksum(folder / place / "dapo_math_17k.parquet") for place in ("one", "other"))
    assert one == other and one[0] == 15


def test_next_to_a_broken_test_set_no_train_set_is_written(folder):
    built(folder, "aime24", sums(30)).path.write_bytes(b"broken")
    with pytest.raises(DataError, match="aime24.parquet: the file is broken .*; remove it, and build that set again"):
        built(folder, "dapo_math_17k", sums(50))
    assert "dapo_math_17k.parquet" not in names(folder)


def test_both_parts_of_a_set_are_kept_apart(folder, monkeypatch):
    monkeypatch.setitem(data.SETS, "gsm8k", tuple(part._replace(rows=5) for part in data.SETS["gsm8k"]))
    rows = [{"question": row["problem"], "answer": f"so it is\n#### {row['answer']}"} for row in sums(9)]
    clone = folder.parent / "clone"
    clone.mkdir()
    for split, part in (("train", rows[:5]), ("test", rows[4:])):
        jsonl(clone / f"{split}.jsonl", part)
    (clone / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: train.jsonl\n"
        "  - split: test\n    path: test.jsonl\n---\n"
    )
    test, train = data.build("gsm8k", output=folder, source=str(clone))
    assert [(each.path.name, each.rows) for each in (test, train)] == [
        ("gsm8k_test.parquet", 5),
        ("gsm8k_train.parquet", 4),
    ]
    assert train.dropped == {"in gsm8k_test": 1}
