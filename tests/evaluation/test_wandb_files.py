"""The files of wandb's offline runs: messages across blocks, cut off, damaged, and one that wandb itself wrote."""

import json
import math
import os
import struct
import subprocess
import sys
import zlib

import pytest

from frpo_verl.evaluation import wandb_files
from frpo_verl.evaluation.metrics import RunLogError, Step, joined
from frpo_verl.evaluation.sources import read_log

HEAD = b":W&B\xe1\xbe\x00"


def file_of(messages: list[bytes]) -> bytes:
    """Writes LevelDB's log from its description: records of at most a block, the first after a head of 7 bytes."""
    done = bytearray(HEAD)
    for message in messages:
        rest, first = message, True
        while True:
            room = 32768 - len(done) % 32768
            if room < 7:
                done += bytes(room)
                room = 32768
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not rest]
            crc = zlib.crc32(bytes([kind]) + part)
            done += struct.pack("<IHB", crc, len(part), kind) + part
            first = False
            if not rest:
                break
    return bytes(done)


def history(step: int, **metrics) -> bytes:
    message = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record()
    for name, value in {**metrics, "_step": step, "_runtime": 1.5}.items():
        message.history.item.add(nested_key=name.split("/"), value_json=json.dumps(value))
    return message.SerializeToString()


@pytest.fixture
def read(tmp_path):
    def of(content: bytes):
        path = tmp_path / "run-1.wandb"
        path.write_bytes(content)
        return joined(path, wandb_files.records(path))

    return of


def test_every_history_is_a_step_and_other_messages_none(read):
    other = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record()
    other.summary.update.add(key="a", value_json="7")
    content = [
        history(0, **{"a/b": 0.5}),
        other.SerializeToString(),
        history(1, **{"a/b": math.nan, "c": [1], "d": "x"}),
    ]
    log = read(file_of(content))
    assert log.steps[0] == Step(0, {"a/b": 0.5})
    assert log.steps[1].metrics.keys() == {"a/b"}
    (where,) = log.not_finite["a/b"]
    assert where.endswith("run-1.wandb, message 3")


@pytest.mark.parametrize("size", [100, 32768 - 14, 32768 - 13, 32768 - 15, 32768 - 20, 32768 - 21, 70_000, 32768 * 3])
def test_messages_of_any_length_are_put_together(size):
    messages = [bytes([1]) * size, b"ab", bytes(range(256)) * 200, b""]
    assert list(wandb_files._messages(file_of(messages))) == messages


@pytest.mark.parametrize("cut", [1, 4, 8, 30])
def test_a_file_that_is_cut_off_is_read_up_to_there_and_said(read, cut):
    log = read(file_of([history(0, a=0.5), history(1, a=0.25)])[:-cut])
    assert log.steps == [Step(0, {"a": 0.5})]
    (note,) = log.notes
    assert note.endswith("run-1.wandb, message 2: half-written or damaged; left out, with what follows it")


def test_a_damaged_message_is_not_taken_for_one(read):
    content = bytearray(file_of([history(0, a=0.5), history(1, a=0.25)]))
    content[-2] ^= 1
    assert [step.step for step in read(bytes(content)).steps] == [0]


def test_a_long_message_without_its_end_is_said():
    content = file_of([b"a", bytes(40_000)])
    assert list(wandb_files._messages(content[:32768])) == [b"a", None]


def test_a_file_that_is_not_wandbs_is_refused(read):
    pytest.importorskip("wandb")
    with pytest.raises(RunLogError, match="run-1.wandb is not a file of wandb"):
        read(b"step:1 - a:1\n")


def test_without_wandb_there_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "run-1.wandb"
    path.write_bytes(HEAD)
    monkeypatch.setitem(sys.modules, "wandb.proto.wandb_internal_pb2", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RunLogError, match="is wandb's, and wandb.* is missing: pip install wandb"):
        list(wandb_files.records(path))


@pytest.mark.slow
def test_what_wandb_writes_offline_is_what_is_read(tmp_path):
    pytest.importorskip("wandb")
    # As verl's logger calls it; in a process of its own, since wandb changes the one that it runs in.
    code = (
        "import wandb; run = wandb.init(project='p', name='n', config={'a': 1})\n"
        "for step in (1, 2): wandb.log(data={'critic/score/mean': step / 4, 'a@8': float('nan')}, step=step)\n"
        "wandb.finish(exit_code=0)"
    )
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, timeout=120)
    log = read_log(tmp_path)
    assert [(step.step, step.metrics["critic/score/mean"]) for step in log.steps] == [(1, 0.25), (2, 0.5)]
    assert len(log.not_finite["a@8"]) == 2 and log.notes == []
