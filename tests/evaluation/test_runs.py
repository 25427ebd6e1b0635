"""Reading a run: its log, its validation's samples, its command, and a sentence for what was left out."""

import pytest
from evaluation.one_run import COMMAND, DUMPS, STEPS, write_metrics, write_run

from frpo_verl.evaluation.command_line import UNRECORDED, parse_command
from frpo_verl.evaluation.metrics import RunLogError
from frpo_verl.evaluation.runs import read_run


def scores(dumps):
    return {step: list(problems.values()) for step, problems in dumps.items()}


def test_a_run_is_its_log_its_samples_and_its_command(tmp_path):
    run = read_run(write_run(tmp_path, key="acc"), "acc")
    assert (run.path, run.log.steps, scores(run.dumps), run.notes) == (tmp_path, STEPS, scores(DUMPS), [])
    assert run.command == parse_command(COMMAND)


def test_a_log_alone_is_a_run_without_samples_and_command(tmp_path):
    (tmp_path / "a.log").write_text("step:1 - a:0.5\nstep:2 - a:0.")
    run = read_run(tmp_path / "a.log")
    assert (run.dumps, run.command) == ({}, UNRECORDED)
    assert len(run.notes) == 1 and run.notes == run.log.notes


@pytest.mark.parametrize(
    ("dump", "said"),
    [
        ("", "20.jsonl, line 1: it is cut off, since verl is writing the file or was stopped; the file is left out"),
        ('{"input": "1+1"}\n{"input": "1+', "20.jsonl, line 2: it is cut off"),
        ('{"input": "x"}\n', "20.jsonl, line 1, column output: there is none, only input; give a dump"),
        ('{"input": "1+1", "output": "", "score": NaN}\n', "nan is not a finite number; find out why the reward"),
    ],
)
def test_a_dump_that_cannot_be_read_is_named_and_the_others_count(tmp_path, dump, said):
    write_run(tmp_path, dumps={0: DUMPS[0]})
    (tmp_path / "validation" / "20.jsonl").write_text(dump)
    run = read_run(tmp_path)
    assert scores(run.dumps) == scores({0: DUMPS[0]})
    (note,) = run.notes
    assert said in note


def test_dumps_of_steps_that_the_log_does_not_have_are_named(tmp_path):
    # the dump of a step is there before verl logs it
    assert read_run(write_run(tmp_path / "a", dumps={2: DUMPS[2], 3: DUMPS[2]})).notes == []
    run = read_run(write_run(tmp_path / "b", dumps={2: DUMPS[2], 40: DUMPS[2]}))
    assert run.notes == [f"{tmp_path / 'b' / 'validation'}: it has step 40, and the log ends at 2"]


def test_a_command_that_cannot_be_read_is_named_and_the_run_counts(tmp_path):
    write_metrics(tmp_path, STEPS)
    (tmp_path / "command.txt").write_text("python 'open")
    run = read_run(tmp_path)
    assert run.command == UNRECORDED
    (note,) = run.notes
    assert "command.txt: the recorded command is not a shell command line" in note


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(RunLogError, match="does not hold a run"):
        read_run(tmp_path)
