"""Reading a run: its log, its validation's samples, its command, and a sentence for what was left out."""

import pytest
from evaluation.one_run import COMMAND, DUMPS, STEPS, write_metrics, write_run

from frpo_verl.evaluation.command_line import UNRECORDED, parse_command
from frpo_verl.evaluation.run_log import RunLogError
from frpo_verl.evaluation.runs import read_run


def test_a_run_is_its_log_its_samples_and_its_command(tmp_path):
    run = read_run(write_run(tmp_path, key="acc"), "acc")
    assert (run.path, run.log.steps, run.dumps, run.notes) == (tmp_path, STEPS, DUMPS, [])
    assert run.command == parse_command(COMMAND)


def test_a_log_alone_is_a_run_without_samples_and_command(tmp_path):
    (tmp_path / "a.log").write_text("step:1 - a:0.5\nstep:2 - a:0.")
    run = read_run(tmp_path / "a.log")
    assert (run.dumps, run.command) == ({}, UNRECORDED)
    assert len(run.notes) == 1 and run.notes == run.log.notes


@pytest.mark.parametrize(
    ("dump", "said"),
    [
        ("", "20.jsonl is not finished; left out"),
        ('{"input": "1+1", "score": 1.0}\n{"input": "1+', "20.jsonl is not finished; left out"),
        (
            '{"input": "1+1", "score": 1.0}\n{"input": "x"}\n',
            "line 2 is not a JSON object with 'input' and 'score'; the",
        ),
        ('{"input": "1+1", "score": null}\n', "line 1: 'score' is None, not a number; the step is left out"),
    ],
)
def test_a_dump_that_cannot_be_read_is_named_and_the_others_count(tmp_path, dump, said):
    write_run(tmp_path, dumps={0: DUMPS[0]})
    (tmp_path / "validation" / "20.jsonl").write_text(dump)
    run = read_run(tmp_path)
    assert run.dumps == {0: DUMPS[0]}
    (note,) = run.notes
    assert said in note


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
