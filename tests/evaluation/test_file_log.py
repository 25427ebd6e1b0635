"""verl's file logger: as verl writes it, half-written, mixed with something else."""

import math

import pytest

from frpo_verl.evaluation.file_log import records
from frpo_verl.evaluation.metrics import Step, joined

METRICS = b'{"step":0,"data":{"val-core/acc":0.25}}\n{"step":1,"data":{"actor/entropy":1.5,"training/epoch":0}}\n'


@pytest.fixture
def read(tmp_path):
    def of(content: bytes):
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(content)
        return joined(path, records(path))

    return of


def test_every_line_is_a_step(read):
    log = read(METRICS)
    assert log.steps == [Step(0, {"val-core/acc": 0.25}), Step(1, {"actor/entropy": 1.5, "training/epoch": 0.0})]
    assert log.notes == []


@pytest.mark.parametrize("cut", range(1, 73))
def test_a_half_written_last_line_is_left_out_and_said_wherever_it_breaks(read, cut):
    last = '{"step":2,"data":{"名/é":1.0,"critic/score/mean":0.5,"actor/lr":1e-6}}\n'.encode()
    assert len(last) == 74 - 1  # so that every cut leaves the closing brace out
    log = read(METRICS + last[:-2][:cut])
    assert [step.step for step in log.steps] == [0, 1]
    (note,) = log.notes
    assert note.endswith("metrics.jsonl, line 3: half-written; left out")


def test_numbers_and_nesting_that_python_cannot_hold_are_no_end(read):
    log = read(b'{"step":1,"data":{"loss":1' + b"0" * 400 + b"}}\n" + b"[" * 200_000 + b"\n" + METRICS)
    assert log.steps[-1].metrics["loss"] == math.inf and len(log.not_finite["loss"]) == 1
    assert [note.split(": ")[1] for note in log.notes if "JSON" in note] == ["not JSON; left out"]


def test_a_whole_last_line_counts_without_its_newline(read):
    log = read(METRICS.rstrip(b"\n"))
    assert ([step.step for step in log.steps], log.notes) == ([0, 1], [])


def test_a_null_is_a_nan_with_its_line_and_what_is_not_a_number_is_no_metric(read):
    log = read(METRICS + b'{"step":2,"data":{"loss":null,"note":"text","list":[1],"flag":true}}\n')
    metrics = log.steps[-1].metrics
    assert set(metrics) == {"loss", "flag"}
    assert math.isnan(metrics["loss"]) and metrics["flag"] == 1.0
    (where,) = log.not_finite["loss"]
    assert where.endswith("metrics.jsonl, line 3")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"step":1,"da\n', "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b'{"epoch":1}\n', "not a JSON object with the number 'step' and the object 'data'"),
        (b'{"step":"1","data":{}}\n', "not a JSON object with the number 'step' and the object 'data'"),
        (b'{"step":1,"data":[]}\n', "not a JSON object with the number 'step' and the object 'data'"),
        (b"[1]\n", "not a JSON object with the number 'step' and the object 'data'"),
    ],
)
def test_a_line_that_is_not_verls_is_named_and_the_others_are_read(read, line, reason):
    log = read(line + METRICS + line)
    assert [step.step for step in log.steps] == [0, 1]
    (note,) = log.notes
    assert note.endswith(f"metrics.jsonl, lines 1 and 4: {reason}; left out")


@pytest.mark.verl
def test_what_verls_file_logger_writes_is_what_is_read(tmp_path, monkeypatch):
    tracking = pytest.importorskip("verl.utils.tracking")
    import numpy as np

    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(path))
    logger = tracking.FileLogger("project", "experiment")
    logger.log({"critic/score/mean": np.float32(0.5), "actor/pg_loss": float("nan"), "training/epoch": 0}, step=1)
    before_the_end = joined(path, records(path))
    logger.finish()
    (step,) = joined(path, records(path)).steps
    assert before_the_end.steps[0].step == step.step == 1
    assert step.metrics["critic/score/mean"] == 0.5
    assert math.isnan(step.metrics["actor/pg_loss"])
