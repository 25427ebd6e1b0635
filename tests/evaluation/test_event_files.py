"""TensorBoard's event files: what SummaryWriter writes, resumed, cut off, without the package."""

import math
import sys

import pytest

from frpo_verl.evaluation import event_files
from frpo_verl.evaluation.metrics import RunLogError, Step
from frpo_verl.evaluation.sources import read_log


@pytest.fixture
def write(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def of(*said, folder=tmp_path, suffix=""):
        writer = SummaryWriter(folder, filename_suffix=suffix)
        for step, metrics in said:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)
        writer.close()
        return folder

    return of


def test_what_a_summary_writer_writes_is_what_is_read(write):
    log = read_log(write((1, {"a/b": 0.5, "c": math.nan}), (2, {"a/b": 0.25})))
    assert [step.step for step in log.steps] == [1, 2]
    assert log.steps[1] == Step(2, {"a/b": 0.25})
    assert math.isnan(log.steps[0].metrics["c"])
    (where,) = log.not_finite["c"]
    # the first record is the file's version
    assert "tfevents" in where and where.endswith(", record 3")


def test_a_resumed_run_has_a_file_more_and_its_later_steps_count(write, tmp_path):
    write((1, {"a": 1.0}), (2, {"a": 2.0}), (3, {"a": 3.0}), suffix=".0")
    write((2, {"a": -2.0}), suffix=".1")
    log = read_log(tmp_path)
    assert log.source == tmp_path
    assert log.steps == [Step(1, {"a": 1.0}), Step(2, {"a": -2.0})]
    (note,) = log.notes
    assert "record 2, goes back from step 3 to step 2" in note


def test_a_file_that_is_cut_off_is_read_up_to_there_and_said(write, tmp_path):
    (path,) = write((1, {"a": 1.0}), (2, {"a": 2.0})).glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-3])
    log = read_log(path)
    assert log.steps == [Step(1, {"a": 1.0})]
    (note,) = log.notes
    assert note.endswith("record 3: half-written or damaged; left out, with what follows it")


def test_without_tensorboard_there_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("tensorboard.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RunLogError, match="is TensorBoard's, and tensorboard.* is missing: pip install tensorboard"):
        list(event_files.records(path))
