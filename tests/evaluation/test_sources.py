"""Finding a run's log: in a folder, as a file, of each of verl's loggers, and the sentences where there is none."""

import pytest
from evaluation.one_run import STEPS, write_metrics

from frpo_verl.evaluation import sources
from frpo_verl.evaluation.metrics import RunLogError, Step
from frpo_verl.evaluation.sources import read_log

LINE = "step:1 - a:0.5\n"


def test_a_folder_has_its_metrics_before_what_was_printed(tmp_path):
    (tmp_path / "trainer.log").write_text(LINE)
    assert read_log(tmp_path).source == tmp_path / "trainer.log"
    write_metrics(tmp_path, STEPS)
    log = read_log(tmp_path)
    assert (log.source, log.steps) == (tmp_path / "metrics.jsonl", STEPS)


def test_what_a_recipe_kept_of_a_resumed_run_comes_before_its_metrics(tmp_path):
    for folder, steps in (("earlier-2", (1, 2, 3)), ("earlier-10", (2, 3)), (".", (4,)), ("earlier-x", (9,))):
        write_metrics(tmp_path / folder, [Step(step, {"a": float(len(folder))}) for step in steps])
    log = read_log(tmp_path)
    assert log.source == tmp_path
    assert [(step.step, step.metrics["a"]) for step in log.steps] == [(1, 9.0), (2, 10.0), (3, 10.0), (4, 1.0)]
    (note,) = log.notes
    assert "earlier-10/metrics.jsonl, line 1, goes back from step 3 to step 2" in note


def test_a_text_without_a_line_of_verl_is_no_log(tmp_path):
    (tmp_path / "settings.txt").write_text("step: 1\n")
    (tmp_path / "node.out").write_text("hello\n" + LINE)
    assert read_log(tmp_path).source == tmp_path / "node.out"


def test_a_file_is_read_by_what_is_in_it(tmp_path):
    for name, content in (("a.txt", '{"step":1,"data":{"a":0.5}}\n'), ("b.jsonl", LINE), ("c", "x\n" + LINE)):
        (tmp_path / name).write_text(content)
        assert read_log(tmp_path / name).steps == [Step(1, {"a": 0.5})]


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("events.out.tfevents.17.host.1.0", sources.event_files),
        ("tensorboard_log/p/e/events.out.tfevents.17", sources.event_files),
        ("wandb/offline-run-1-a/run-a.wandb", sources.wandb_files),
        ("offline-run-1-a/run-a.wandb", sources.wandb_files),
        ("run-a.wandb", sources.wandb_files),
    ],
)
def test_the_other_loggers_files_are_found_where_they_write_them(tmp_path, name, reader):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert sources._found(tmp_path) == (reader.records, [path])
    assert sources._found(path) == (reader.records, [path])


def test_two_logs_in_one_folder_are_a_question(tmp_path):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text(LINE)
    with pytest.raises(RunLogError, match=r"holds 2 logs, a.log and b.log: name one\.$"):
        read_log(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "metrics.jsonl is empty: verl has not written a whole line yet"),
        ('{"step":1,"da', "metrics.jsonl, line 1: half-written; left out"),
        ("hello\n", "holds no metrics of verl: .*line 1: not JSON; left out"),
        ('{"input":"1+1","output":"2","score":1.0,"step":1}\n', "line 1: not a JSON object with the number 'step'"),
    ],
)
def test_a_log_without_a_step_is_one_sentence(tmp_path, content, said):
    (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(RunLogError, match=said) as refused:
        read_log(tmp_path)
    assert "\n" not in str(refused.value)


def test_an_empty_log_does_not_hide_another_nor_what_was_kept_of_it(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "trainer.log").write_text(LINE)
    assert read_log(tmp_path).source == tmp_path / "trainer.log"
    (tmp_path / "earlier-1").mkdir()
    (tmp_path / "earlier-1" / "metrics.jsonl").write_text('{"step":1,"data":{"a":1.0}}\n')
    assert read_log(tmp_path).source == tmp_path / "earlier-1" / "metrics.jsonl"


def test_dumps_without_a_log_are_for_eval(tmp_path):
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "1.jsonl").touch()
    with pytest.raises(RunLogError, match="its dumps can be read by `frpo-verl eval`"):
        read_log(tmp_path)


def test_what_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(RunLogError, match=r"gone does not exist; correct the path\.$"):
        read_log(tmp_path / "gone")
    with pytest.raises(RunLogError, match="does not hold a run: no metrics.jsonl .* no event file .* no wandb file"):
        read_log(tmp_path)
    (tmp_path / "a.txt").write_text("hello\n")
    with pytest.raises(RunLogError, match="a.txt holds no metrics of verl; give a run's folder"):
        read_log(tmp_path / "a.txt")
