"""Tests the progress that a waiting user sees."""

import json

from frpo_verl.evaluation.metrics import Step
from frpo_verl.quickstart import progress
from frpo_verl.quickstart.run import running

METRICS = {"critic/score/mean": 0.25, "actor/entropy": 1.5, "timing_s/step": 30.4}


def test_a_step_is_one_line_of_figures():
    line = progress._line(Step(3, {**METRICS, "frpo/divergence_to_ref/token_mean": 0.1234}), steps=10)
    assert line == "step  3/10   reward 0.25   divergence 0.123   entropy 1.50   seconds 30"


def test_a_run_without_a_divergence_leaves_it_out():
    assert "divergence" not in progress._line(Step(1, METRICS), steps=2)


def test_the_phase_is_the_last_one_whose_sign_is_in_the_log(tmp_path):
    log = tmp_path / "trainer.log"
    log.write_text("")
    assert progress.PHASES[progress._phase(log)].name == "reading the configuration"
    log.write_text("ray init kwargs: {}\n(TaskRunnerV1 pid=3) hello\n")
    assert progress.PHASES[progress._phase(log)].name == "starting the trainer"


def test_following_shows_phases_and_steps_once_and_times_the_first_step(tmp_path, capsys):
    lines = "".join(json.dumps({"step": step, "data": METRICS}) + "\\n" for step in (1, 2))
    script = tmp_path / "recipe.sh"
    script.write_text(f"echo 'ray init kwargs'; sleep 1; printf '{lines}' > $RUN_DIR/metrics.jsonl; sleep 1")
    with running(script, {}, tmp_path / "run") as run:
        first_step = progress.follow(run, 2, progress.Clock())
        assert run.process.poll() == 0
    shown = capsys.readouterr().out
    assert 0.9 < first_step < 20
    assert [shown.count(text) for text in ("starting Ray", "step  1/2", "step  2/2")] == [1, 1, 1]


def test_a_run_that_ends_without_a_step_has_no_first_step(tmp_path):
    script = tmp_path / "recipe.sh"
    script.write_text("exit 3")
    with running(script, {}, tmp_path / "run") as run:
        assert progress.follow(run, 2, progress.Clock()) is None
        assert run.process.poll() == 3


def test_the_end_of_another_step_is_not_the_end_of_the_first(tmp_path):
    script = tmp_path / "recipe.sh"
    script.write_text(f"echo '{json.dumps({'step': 2, 'data': METRICS})}' > $RUN_DIR/metrics.jsonl")
    with running(script, {}, tmp_path / "run") as run:
        assert progress.follow(run, 2, progress.Clock()) is None
