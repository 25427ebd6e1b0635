"""Tests sets of problems from source to parquet, in any order, through kills and beside other processes."""

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
from problem_rows import SCHEMA, asked, jsonl, rows_of, sums

from frpo_verl import data
from frpo_verl.data import dedup, leakage, table
from frpo_verl.data.errors import DataError

SHARED = Path(os.environ.get("FRPO_VERL_SHARED_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def train(folder, rows, **options):
    """A train set: that of DAPO has no fixed size."""
    return data.build("dapo_math_17k", output=folder, source=jsonl(folder.parent / "train.jsonl", rows), **options)[0]


def aime(folder, rows, name="aime24"):
    return data.build(name, output=folder, source=jsonl(folder.parent / f"{name}.jsonl", rows))[0]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "folder"


@pytest.fixture(autouse=True)
def _parent(folder):
    folder.parent.mkdir()


@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime24", 30)])
def test_the_real_sets_come_out_whole(folder, name, count):
    if not (SHARED / f"{name}.jsonl").is_file():
        pytest.skip(f"no {name}.jsonl in {SHARED}; name its folder by FRPO_VERL_SHARED_DATA")
    source = [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]
    built = data.build(name, output=folder, source=str(SHARED / f"{name}.jsonl"))[0]
    assert (built.rows, built.dropped, built.remark) == (count, {}, "")
    assert asked(built.path) == [row["problem"].strip() for row in source]
    gold = [row["reward_model"]["ground_truth"] for row in rows_of(built.path)]
    assert len({dedup.key(row["problem"]) for row in source}) == count
    assert gold == [row["answer"] if name == "math500" else str(int(row["answer"])) for row in source]


def test_a_row_has_verls_schema_and_the_papers_prompt(folder):
    built = aime(folder, sums(30))
    rows = rows_of(built.path)
    assert all(set(row) == SCHEMA for row in rows)
    assert rows[7] == {
        "data_source": "frpo/aime24",
        "prompt": [
            {
                "role": "user",
                "content": "What is $7 + 1$? Let's think step by step and output the final answer within \\boxed{}.",
            }
        ],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "8"},
        "extra_info": {"index": 7, "split": "test", "id": "sum-7", "task": None, "entry": None},
    }


def test_the_checksum_is_that_of_the_rows_as_sorted_json_lines(folder):
    built = train(folder, sums(9))
    lines = [json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows_of(built.path)]
    assert built.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_verl_can_put_sets_of_every_kind_together(folder):
    # As verl.utils.dataset.rl_dataset reads several files.
    paths = [aime(folder, sums(30)).path, train(folder, sums(9, 50)).path]
    paths += [
        built.path for built in data.build("reasoning_gym:chain_sum", output=folder, draw=data.Draw(20, held_out=0.5))
    ]
    tables = [datasets.load_dataset("parquet", data_files=str(path))["train"] for path in paths]
    assert len(datasets.concatenate_datasets(tables)) == 30 + 9 + 20


def test_a_train_set_has_each_problem_once_and_none_with_two_answers(folder):
    rows = sums(5)
    rows.insert(3, {"problem": "what is\n$0+1$", "answer": "1"})
    rows.append({"problem": "What is $2 + 1$", "answer": "4"})
    rows.append({"problem": "求 $1 + 1$", "answer": "2"})
    rows.append({"problem": "What is a half?", "answer": "1/2"})
    built = train(folder, rows)
    assert asked(built.path) == ["What is $0 + 1$?", "What is $1 + 1$?", "What is $3 + 1$?", "What is $4 + 1$?"]
    assert built.dropped == {"duplicate": 2, "not English": 1, "answer not a whole number": 1, "two answers": 1}


def test_problems_that_differ_in_a_prime_both_stay(folder):
    rows = [{"problem": f"Find f{prime}(2) for $f(x) = x^2$.", "answer": "4"} for prime in ("'", "")]
    rows.append({"problem": "Find f''(2) for $f(x) = x^2$.", "answer": "2"})
    built = train(folder, rows)
    assert (built.rows, built.dropped) == (3, {})


def test_a_benchmark_keeps_what_it_has_twice(folder):
    assert aime(folder, sums(15) * 2).rows == 30


@pytest.mark.parametrize("train_first", [True, False])
def test_no_problem_of_a_test_set_is_trained_on_whichever_was_built_first(folder, train_first):
    steps = [lambda: train(folder, sums(50)), lambda: aime(folder, [row | {"id": 0} for row in sums(30, 10)])]
    first, second = (step() for step in (steps if train_first else steps[::-1]))
    path = folder / "dapo_math_17k.parquet"
    assert asked(path) == [row["problem"] for row in sums(10) + sums(10, 40)]
    manifest = json.loads((folder / "dapo_math_17k.manifest.json").read_text())
    assert (manifest["rows"], manifest["dropped"]) == (20, {"in aime24": 30})
    assert second.taken == ({"dapo_math_17k": 30} if train_first else {})
    assert data.verify(folder) == []
    assert train(folder, sums(50)).rows == 20


@pytest.mark.parametrize("again", ["aime24", "dapo_math_17k"])
def test_killed_before_its_problems_are_taken_out_the_next_command_does_it(folder, monkeypatch, again):
    def killed(_):
        raise KeyboardInterrupt

    sources = {
        name: jsonl(folder.parent / f"{name}.jsonl", rows)
        for name, rows in (("dapo_math_17k", sums(50)), ("aime24", sums(30, 40)))
    }
    data.build("dapo_math_17k", output=folder, source=sources["dapo_math_17k"])
    monkeypatch.setattr(leakage, "clean", killed)
    with pytest.raises(KeyboardInterrupt):
        data.build("aime24", output=folder, source=sources["aime24"])
    monkeypatch.undo()
    [leaked] = data.verify(folder)
    assert "10 of its problems are in aime24; build that test set again, which removes them" in leaked

    [built] = data.build(again, output=folder, source=sources[again])
    assert built.reused and built.taken == ({"dapo_math_17k": 10} if again == "aime24" else {})
    assert asked(folder / "dapo_math_17k.parquet") == [row["problem"] for row in sums(40)]
    assert (built.rows, built.dropped) == ((30, {}) if again == "aime24" else (40, {"in aime24": 10}))
    assert data.verify(folder) == []


def test_the_order_of_building_changes_nothing(tmp_path):
    one, other = tmp_path / "one" / "x", tmp_path / "other" / "x"
    for path in (one, other):
        path.parent.mkdir()
    train(one, sums(50)), aime(one, sums(30, 10)), aime(one, sums(30, 45), "aime25")
    aime(other, sums(30, 45), "aime25"), aime(other, sums(30, 10)), train(other, sums(50))
    assert table.checksum(one / "dapo_math_17k.parquet") == table.checksum(other / "dapo_math_17k.parquet")


def test_both_parts_of_gsm8k_from_a_folder_and_one_from_a_file(folder, monkeypatch):
    monkeypatch.setitem(data.SETS, "gsm8k", tuple(part._replace(rows=5) for part in data.SETS["gsm8k"]))
    clone = folder.parent / "clone"
    clone.mkdir()
    rows = [{"question": row["problem"], "answer": f"so it is\n#### {row['answer']}"} for row in sums(9)]
    jsonl(clone / "train.jsonl", rows[:5]), jsonl(clone / "test.jsonl", rows[4:])
    (clone / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: train.jsonl\n"
        "  - split: test\n    path: test.jsonl\n---\n"
    )
    test, trained = data.build("gsm8k", output=folder, source=str(clone))
    assert (test.path.name, test.rows, trained.path.name, trained.rows) == (
        "gsm8k_test.parquet",
        5,
        "gsm8k_train.parquet",
        4,
    )
    assert trained.dropped == {"in gsm8k_test": 1}
    assert {row["data_source"] for row in rows_of(trained.path)} == {"frpo/gsm8k"}
    with pytest.raises(DataError, match="gsm8k with --source .*: it is 2 sets, not one; name gsm8k_test or"):
        data.build("gsm8k", output=folder, source=str(clone / "train.jsonl"))
    assert data.build("gsm8k_train", output=folder, source=str(clone / "train.jsonl"))[0].rows == 4


def test_what_is_there_from_the_same_source_is_not_made_again(folder):
    first = train(folder, sums(9))
    stamp = first.path.stat().st_mtime_ns
    path = folder.parent / "train.jsonl"
    again = data.build("dapo_math_17k", output=folder, source=str(path))[0]
    assert again.reused and again[:5] == first[:5] and first.path.stat().st_mtime_ns == stamp
    first.path.write_bytes(b"broken")
    assert data.build("dapo_math_17k", output=folder, source=str(path))[0].rows == 9
    (folder / "dapo_math_17k.manifest.json").write_text("{")
    assert not data.build("dapo_math_17k", output=folder, source=str(path))[0].reused


def test_what_is_there_from_the_hub_needs_no_network(folder, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(sums(30)))
    first = data.build("aime25", output=folder)[0]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("gone")))
    assert data.build("aime25", output=folder)[0] == first._replace(reused=True)
    with pytest.raises(DataError, match="aime_2024: cannot be read .gone.; check the network"):
        data.build("aime24", output=folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "aime25.manifest.json", "aime25.parquet"
    ]  # fmt: skip


def test_beside_a_broken_test_set_nothing_is_trained_on(folder):
    aime(folder, sums(30)).path.write_bytes(b"broken")
    with pytest.raises(DataError, match="aime24.parquet: the file is broken .*; remove it, and build that set again"):
        train(folder, sums(50))
    assert data.verify(folder)[0].endswith(f"of its manifest; build it again: frpo-verl data aime24 --output {folder}")
    assert not (folder / "dapo_math_17k.parquet").exists()


def test_a_limit_is_a_part_and_its_row_count_is_right(folder):
    source = jsonl(folder.parent / "rows.jsonl", sums(500))
    assert data.build("math500", output=folder, source=source, limit=3)[0].rows == 3


PAUSED = """
import logging, sys, time
from pathlib import Path
from frpo_verl import data
from frpo_verl.data import table

write = table.write
name, folder, source, pauses = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "pauses"

def paused(rows, path):
    if pauses and path.stem == "dapo_math_17k":
        (folder.parent / "writing").touch()
        while not (folder.parent / "go").exists():
            time.sleep(0.01)
    return write(rows, path)

class Waits(logging.Handler):
    def emit(self, record):
        (folder.parent / f"{name} waits").touch()

table.write = paused
logging.getLogger("frpo_verl.data.table").addHandler(Waits())
data.build(name, output=folder, source=source)
"""


def _until(there, *processes):
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline and all(process.poll() in (None, 0) for process in processes)
        time.sleep(0.01)


@pytest.mark.parametrize("first", ["dapo_math_17k", "aime24"])
def test_sets_that_are_built_at_once_are_kept_apart_too(folder, first):
    """One process is about to write the train set, and another one has a test set ready: neither undoes the other."""
    sources = {
        name: jsonl(folder.parent / f"{name}.jsonl", rows)
        for name, rows in (("dapo_math_17k", sums(50)), ("aime24", sums(30, 40)), ("aime25", sums(30, -20)))
    }
    if first == "aime24":
        data.build("dapo_math_17k", output=folder, source=sources["dapo_math_17k"])

    def start(name, pauses):
        return subprocess.Popen([sys.executable, "-P", "-c", PAUSED, name, str(folder), sources[name], pauses])

    one = start(first, "pauses")
    _until((folder.parent / "writing").exists, one)
    other = start("aime25", "")
    _until(lambda: (folder.parent / "aime25 waits").exists() or other.poll() is not None, one, other)
    (folder.parent / "go").touch()
    assert (one.wait(60), other.wait(60)) == (0, 0)
    leaks = {"in aime24": 10, "in aime25": 10} if first == "aime24" else {"in aime25": 10}
    assert json.loads((folder / "dapo_math_17k.manifest.json").read_text())["dropped"] == leaks
    assert len(asked(folder / "dapo_math_17k.parquet")) == 50 - sum(leaks.values())
    assert data.verify(folder) == []


KILLED = """
import os, signal, sys
from frpo_verl import data
from frpo_verl.data import table

canonical = table._canonical

def killed(row):
    if row["extra_info"]["index"] == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return canonical(row)

table._canonical, table.ROW_GROUP = killed, 10
data.build("dapo_math_17k", output=sys.argv[1], source=sys.argv[2])
"""


def test_killed_while_it_writes_it_leaves_no_output_and_the_next_command_builds_it(folder):
    source = jsonl(folder.parent / "train.jsonl", sums(50))
    run = subprocess.run([sys.executable, "-P", "-c", KILLED, str(folder), source])
    assert run.returncode == -signal.SIGKILL
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "dapo_math_17k.parquet.writing"]
    assert train(folder, sums(50)).rows == 50
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "dapo_math_17k.manifest.json", "dapo_math_17k.parquet"
    ]  # fmt: skip


def test_a_full_disk_is_named_and_leaves_no_output(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
    with pytest.raises(DataError, match="the disk is full; make room, and run the same command again"):
        train(folder, sums(9))
    assert sorted(path.name for path in folder.iterdir()) == [".lock"]


def test_verify_waits_for_a_process_that_writes(folder):
    train(folder, sums(9))
    found = []
    with (folder / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: found.append(data.verify(folder)))
        thread.start()
        thread.join(0.3)
        assert found == []
    thread.join(60)
    assert found == [[]]


def test_verify_needs_no_right_to_write(folder, monkeypatch):
    train(folder, sums(9))
    (folder / ".lock").unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert data.verify(folder) == []
    assert not (folder / ".lock").exists()


def test_a_lock_of_somebody_else_is_named(folder, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    train(folder, sums(9))
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(
        DataError, match=r"\.lock: cannot be opened for writing \(Permission denied\); ask its owner, or"
    ):
        data.verify(folder)


@pytest.mark.parametrize("name", ["a file", "a file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_to(tmp_path, name):
    (tmp_path / "a file").write_text("")
    with pytest.raises(DataError, match="--output .*: cannot be written to .*; choose another folder"):
        data.build("math500", output=tmp_path / name)


def test_a_set_of_the_wrong_size_is_not_taken_for_it(folder):
    with pytest.raises(DataError) as error:
        aime(folder, sums(29))
    assert str(error.value) == (
        f"aime24: {folder.parent}/aime24.jsonl has 29 rows and the set has 30; give the whole set "
        "(https://huggingface.co/datasets/HuggingFaceH4/aime_2024), or --limit 29 for a part of it"
    )
    assert not (folder / "aime24.parquet").exists()


def test_a_set_of_which_nothing_is_left(folder):
    with pytest.raises(DataError, match=r"none of the 1 rows of .* is left; check its content \(1 not English\)"):
        train(folder, [{"problem": "求 $x$", "answer": "1"}])


def test_a_part_does_not_replace_the_whole(folder):
    whole = train(folder, sums(6))
    with pytest.raises(DataError, match=r"--limit 4: .*\.parquet holds the whole set of 6 rows, which"):
        train(folder, sums(6), limit=4)
    assert len(rows_of(whole.path)) == 6


def test_a_limit_of_nothing(folder):
    with pytest.raises(DataError, match="--limit 0: it must be 1 or more; leave it out for everything"):
        train(folder, sums(1), limit=0)


def test_other_rows_than_the_published_ones_are_told(folder):
    assert "check what differs before you compare" in aime(folder, sums(30)).remark


def test_verify_finds_what_was_changed_lost_and_leaked(folder):
    assert data.verify(folder) == [
        f"{folder}: no set of problems was built there; frpo-verl data NAME --output {folder} builds one"
    ]
    built, test = train(folder, sums(50)), aime(folder, sums(30, 100))
    assert data.verify(folder) == []
    rows = rows_of(built.path)
    rows[3]["prompt"], rows[4]["prompt"] = rows_of(test.path)[0]["prompt"], rows_of(test.path)[1]["prompt"]
    schema = pyarrow.parquet.read_schema(built.path)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), built.path)
    [changed] = data.verify(folder)
    assert changed.startswith(f"{built.path}: its rows are not the 50 with sha256 {built.sha256[:12]}… of its manifest")
    manifest = json.loads((folder / "dapo_math_17k.manifest.json").read_text())
    manifest["rows"], manifest["sha256"] = table.checksum(built.path)
    (folder / "dapo_math_17k.manifest.json").write_text(json.dumps(manifest))
    [leaked] = data.verify(folder)
    assert leaked.startswith(f"{built.path}: 2 of its problems are in aime24; build that test set again")
    test.path.unlink()
    assert data.verify(folder) == [f"{test.path}: the file is missing, or its manifest is broken; build it again"]
