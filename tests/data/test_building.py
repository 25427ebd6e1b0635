"""Tests sets of problems from source to parquet."""

import json
import os
from pathlib import Path

import datasets
import pytest
from problem_rows import asked, built, jsonl, names, rows_of, sums

from frpo_verl import data
from frpo_verl.data import dedup
from frpo_verl.data.errors import DataError

SHARED = Path(os.environ.get("FRPO_VERL_SHARED_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime24", 30)])
def test_the_real_sets_come_out_whole(folder, name, count):
    if not (SHARED / f"{name}.jsonl").is_file():
        pytest.skip(f"no {name}.jsonl in {SHARED}; name its folder by FRPO_VERL_SHARED_DATA")
    source = [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]
    done = data.build(name, output=folder, source=str(SHARED / f"{name}.jsonl"))[0]
    assert (done.rows, done.dropped, done.remark) == (count, {}, "")
    assert asked(done.path) == [row["problem"].strip() for row in source]
    gold = [row["reward_model"]["ground_truth"] for row in rows_of(done.path)]
    assert len({dedup.key(row["problem"]) for row in source}) == count
    assert gold == [row["answer"] if name == "math500" else str(int(row["answer"])) for row in source]


def test_verl_can_put_sets_of_every_kind_together(folder):
    # As verl.utils.dataset.rl_dataset reads several files.
    paths = [built(folder, "aime24", sums(30)).path, built(folder, "dapo_math_17k", sums(9, 50)).path]
    drawn = data.build("reasoning_gym:chain_sum", output=folder, draw=data.Draw(20, held_out=0.5))
    paths += [each.path for each in drawn]
    tables = [datasets.load_dataset("parquet", data_files=str(path))["train"] for path in paths]
    assert len(datasets.concatenate_datasets(tables)) == 30 + 9 + 20


def test_a_train_set_has_each_problem_once_and_none_with_two_answers(folder):
    rows = sums(5)
    rows.insert(3, {"problem": "what is\n$0+1$", "answer": "1"})
    rows.append({"problem": "What is $2 + 1$", "answer": "4"})
    rows.append({"problem": "求 $1 + 1$", "answer": "2"})
    rows.append({"problem": "What is a half?", "answer": "1/2"})
    done = built(folder, "dapo_math_17k", rows)
    assert asked(done.path) == ["What is $0 + 1$?", "What is $1 + 1$?", "What is $3 + 1$?", "What is $4 + 1$?"]
    assert [row["extra_info"]["index"] for row in rows_of(done.path)] == [0, 1, 4, 5]
    assert done.dropped == {"duplicate": 2, "not English": 1, "answer not a whole number": 1, "two answers": 1}


def test_a_benchmark_keeps_what_it_has_twice(folder):
    assert built(folder, "aime24", sums(15) * 2).rows == 30


def test_what_is_there_from_the_same_source_is_not_made_again(folder):
    first = built(folder, "dapo_math_17k", sums(9))
    stamp, source = first.path.stat().st_mtime_ns, str(folder.parent / "dapo_math_17k.jsonl")
    again = data.build("dapo_math_17k", output=folder, source=source)[0]
    assert again == first._replace(reused=True) and first.path.stat().st_mtime_ns == stamp
    first.path.write_bytes(b"broken")
    assert data.build("dapo_math_17k", output=folder, source=source)[0].rows == 9
    (folder / "dapo_math_17k.manifest.json").write_text("{")
    assert not data.build("dapo_math_17k", output=folder, source=source)[0].reused
    assert built(folder, "dapo_math_17k", sums(10)).rows == 10


def test_what_is_there_from_the_hub_needs_no_network(folder, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(sums(30)))
    first = data.build("aime25", output=folder)[0]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("gone")))
    assert data.build("aime25", output=folder)[0] == first._replace(reused=True)
    with pytest.raises(DataError, match="aime_2024: cannot be read .gone.; check the network"):
        data.build("aime24", output=folder)
    assert names(folder) == [".lock", "aime25.manifest.json", "aime25.parquet"]


def test_a_limit_counts_the_problems_that_are_kept(folder):
    assert built(folder, "math500", sums(500, 500), limit=3).rows == 3
    rows = sums(5)
    assert asked(built(folder, "dapo_math_17k", rows[:2] * 2 + rows, limit=3).path)[2] == rows[2]["problem"]


def test_a_part_does_not_replace_the_whole(folder):
    whole = built(folder, "dapo_math_17k", sums(6))
    with pytest.raises(DataError, match=r"--limit 4: .*\.parquet holds the whole set of 6 rows, which"):
        built(folder, "dapo_math_17k", sums(6), limit=4)
    assert len(rows_of(whole.path)) == 6


@pytest.mark.parametrize("name", ["a file", "a file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_to(folder, name):
    (folder.parent / "a file").write_text("")
    with pytest.raises(DataError, match="--output .*: cannot be written to .*; choose another folder"):
        data.build("math500", output=folder.parent / name)


def test_a_set_of_the_wrong_size_is_not_taken_for_it(folder):
    with pytest.raises(DataError) as error:
        built(folder, "aime24", sums(29))
    assert str(error.value) == (
        f"aime24: {folder.parent}/aime24.jsonl has 29 rows and the set has 30; give the whole set "
        "(https://huggingface.co/datasets/HuggingFaceH4/aime_2024), or --limit 29 for a part of it"
    )
    assert "aime24.parquet" not in names(folder)


def test_a_set_of_which_nothing_is_left(folder):
    with pytest.raises(DataError, match=r"none of the 1 rows of .* is left; check its content \(1 not English\)"):
        built(folder, "dapo_math_17k", [{"problem": "求 $x$", "answer": "1"}])


def test_two_sets_from_one_file_and_a_limit_of_nothing_are_refused(folder):
    source = jsonl(folder.parent / "rows.jsonl", sums(1))
    with pytest.raises(DataError, match="gsm8k with --source .*: it is 2 sets, not one; name gsm8k_test or"):
        data.build("gsm8k", output=folder, source=source)
    with pytest.raises(DataError, match="--limit 0: it must be 1 or more; leave it out for everything"):
        data.build("aime24", output=folder, source=source, limit=0)


def test_other_rows_than_the_published_ones_are_told(folder):
    assert "check what differs before you compare" in built(folder, "aime24", sums(30)).remark
