"""verl's console logger among all else that is printed: colours, Ray, progress bars, cut and mixed lines."""

import math

import pytest

from frpo_verl.evaluation.console_log import records
from frpo_verl.evaluation.metrics import Step, joined

RAY = "\x1b[36m(TaskRunner pid=32054)\x1b[0m "


@pytest.fixture
def read(tmp_path):
    def of(text: str):
        path = tmp_path / "trainer.log"
        path.write_bytes(text.encode())
        return joined(path, records(path))

    return of


@pytest.mark.parametrize("before", ["", RAY, "(TaskRunner pid=1) ", "Training:  5%|▍  | 1/20 [00:03<01:00]\r", "a "])
def test_a_line_of_verl_is_found_behind_whatever_is_before_it(read, before):
    log = read(f"ray init\n{before}step:3 - actor/entropy:1.25 - actor/lr:1e-06\nstep by step:1 - no\n")
    assert log.steps == [Step(3, {"actor/entropy": 1.25, "actor/lr": 1e-6})]
    assert log.notes == []


def test_numbers_are_read_as_they_are_printed(read):
    (step,) = read("step:1 - a:np.float64(0.5) - b:-2 - c:nan - d:inf - e/f@8/mean:True\n").steps[:1] or [None]
    assert (step.metrics["a"], step.metrics["b"], step.metrics["d"]) == (0.5, -2.0, math.inf)
    assert math.isnan(step.metrics["c"])


def test_a_line_that_ray_repeats_is_read_without_its_remark(read):
    assert read("step:1 - a:0.5 [repeated 2x across cluster] (Ray deduplicates)\n").steps == [Step(1, {"a": 0.5})]


def test_a_number_that_is_not_there_whole_is_left_out_and_said(read):
    log = read("step:1 - a:0.5 - b:0.25\nstep:2 - a:0.5 - b:0.2")
    assert log.steps[1] == Step(2, {"a": 0.5})
    (note,) = log.notes
    assert note.endswith("trainer.log, line 2: its last metric is half-written; left out")


def test_two_lines_that_ran_together_are_named(read):
    log = read("step:1 - a:0.5 - b:1(worker) hello\n")
    assert log.steps == [Step(1, {"a": 0.5})]
    (note,) = log.notes
    assert note.endswith("trainer.log, line 1: 'b:1(worker) hello' is not a metric and a number; left out")


def test_a_log_that_was_appended_to_is_a_resumed_run(read):
    log = read("step:1 - a:1.0\nstep:2 - a:2.0\nstep:3 - a:3.0\n\nstep:2 - a:-2.0\n")
    assert log.steps == [Step(1, {"a": 1.0}), Step(2, {"a": -2.0})]
    (note,) = log.notes
    assert "trainer.log, line 5, goes back from step 3 to step 2: the run was resumed there" in note


@pytest.mark.verl
def test_what_verls_console_logger_prints_is_what_is_read(read, capsys):
    logger = pytest.importorskip("verl.utils.logger")
    import numpy as np

    logger.LocalLogger().log(
        {"critic/score/mean": np.float32(0.5), "a/b": 3, "c": np.float64(0.1), "d": "text"}, step=7
    )
    assert read(capsys.readouterr().out).steps == [Step(7, {"critic/score/mean": 0.5, "a/b": 3.0, "c": 0.1})]
