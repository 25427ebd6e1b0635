"""Tests verl's parquet files, their checksums, and that nobody sees one that is half written."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading

import pyarrow.parquet
import pytest
from filelock import FileLock, Timeout
from problem_rows import SCHEMA, asked, built, jsonl, names, rows_of, sums

from frpo_verl import data
from frpo_verl.data import leakage, table
from frpo_verl.data.errors import DataError


def test_a_row_has_verls_schema_and_the_papers_prompt(folder):
    rows = rows_of(built(folder, "aime24", sums(30)).path)
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
    assert table.question(rows[7]) == "What is $7 + 1$?"


def test_the_checksum_is_that_of_the_rows_as_sorted_json_lines(folder, monkeypatch):
    monkeypatch.setattr(table, "ROW_GROUP", 4)
    done = built(folder, "dapo_math_17k", [{"problem": "“é” is?", "answer": "0"}, *sums(8)])
    lines = [json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows_of(done.path)]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (done.rows, done.sha256) == table.checksum(done.path) == (9, expected)
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(done.path), done.path, compression="none")
    assert table.checksum(done.path) == (9, expected)
    changed = pyarrow.parquet.read_table(done.path)
    pyarrow.parquet.write_table(changed.take([1, 0, *range(2, 9)]), done.path)
    assert table.checksum(done.path)[1] != expected
    done.path.write_bytes(b"broken")
    assert table.checksum(done.path) is None


def test_a_file_is_replaced_when_the_new_one_is_whole(folder, monkeypatch):
    def stopped(number):
        yield from rows[:number]
        raise KeyboardInterrupt

    monkeypatch.setattr(table, "ROW_GROUP", 4)
    done = built(folder, "dapo_math_17k", sums(9))
    rows, before = rows_of(done.path), names(folder)
    for number in (0, 3, 8):
        with pytest.raises(KeyboardInterrupt):
            table.write(stopped(number), done.path)
        assert table.checksum(done.path) == (9, done.sha256) and names(folder) == before


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
    source = jsonl(folder.parent / "dapo_math_17k.jsonl", sums(50))
    run = subprocess.run([sys.executable, "-P", "-c", KILLED, str(folder), source])
    assert run.returncode == -signal.SIGKILL
    assert names(folder) == [".lock", "dapo_math_17k.parquet.writing"]
    assert built(folder, "dapo_math_17k", sums(50)).rows == 50
    assert names(folder) == [".lock", "dapo_math_17k.manifest.json", "dapo_math_17k.parquet"]


def test_a_full_disk_is_named_and_leaves_no_output(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
    with pytest.raises(DataError, match="the disk is full; make room, and run the same command again"):
        built(folder, "dapo_math_17k", sums(9))
    assert names(folder) == [".lock"]


def test_whoever_reads_or_writes_a_folder_has_it_alone(folder, monkeypatch):
    held = []

    def watched(function):
        def noted(*arguments):
            try:
                FileLock(folder / ".lock").acquire(timeout=0)
                held.append(None)
            except Timeout:
                held.append(function.__name__)
            return function(*arguments)

        return noted

    for module, name in ((leakage, "tests"), (leakage, "clean"), (table, "write"), (table, "write_manifest")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    built(folder, "dapo_math_17k", sums(50))
    assert held == ["tests", "write", "write_manifest"]
    built(folder, "aime24", sums(30, 40))
    assert held[3:6] == ["write", "write_manifest", "clean"] and None not in held
    held.clear()
    assert data.verify(folder) == [] and held == ["tests"]


@pytest.mark.parametrize("does", ["build", "verify"])
def test_everybody_waits_for_the_folder_and_says_so(folder, caplog, does):
    done = built(folder, "dapo_math_17k", sums(9))
    work = {"build": lambda: built(folder, "aime24", sums(30)).rows, "verify": lambda: data.verify(folder)}[does]
    found = []
    with (folder / ".lock").open("ab") as file, caplog.at_level(logging.WARNING):
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: found.append(work()))
        thread.start()
        thread.join(0.5)
        assert found == []
    thread.join(60)
    assert found == [{"build": 30, "verify": []}[does]]
    assert caplog.messages == [f"frpo-verl: waiting for another process that uses {folder}"]
    assert len(asked(done.path)) == {"build": 0, "verify": 9}[does]


def test_a_lock_of_somebody_else_is_named(folder, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    built(folder, "dapo_math_17k", sums(9))
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(
        DataError, match=r"\.lock: cannot be opened for writing \(Permission denied\); ask its owner, or"
    ):
        data.verify(folder)
