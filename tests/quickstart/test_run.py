"""A recipe as a child process. The recipes here are shell one-liners: what is tested is the handling of processes."""

import os
import time

import pytest

from frpo_verl.quickstart.run import MARK, RunError, processes_of, reasons, running


def recipe(folder, text: str):
    path = folder / "recipe.sh"
    path.write_text(text)
    return path


def test_knobs_overrides_and_the_run_directory_reach_the_recipe(tmp_path):
    script = recipe(tmp_path, 'echo "$KNOB $RUN_DIR $@"')
    with running(script, {"KNOB": "7"}, tmp_path / "run", ("a=1", "b=2")) as run:
        assert run.process.wait(timeout=20) == 0
    assert run.log.read_text().strip() == f"7 {tmp_path / 'run'} a=1 b=2"


def test_the_end_of_the_block_ends_every_process_even_one_that_ignores_sigterm_and_left_the_session(tmp_path):
    script = recipe(tmp_path, "setsid bash -c 'trap \"\" TERM; while true; do sleep 0.1; done' & sleep 60 & sleep 60")
    with running(script, {}, tmp_path / "run") as run:
        deadline = time.monotonic() + 20
        while len(processes_of(run)) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(processes_of(run)) >= 4
    assert processes_of(run) == []


def test_an_exception_in_the_block_ends_the_run_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), running(recipe(tmp_path, "sleep 60"), {}, tmp_path / "run") as run:
        raise KeyboardInterrupt
    assert processes_of(run) == []


def test_other_processes_are_not_touched(tmp_path, monkeypatch):
    monkeypatch.setenv(MARK, "another run")
    with running(recipe(tmp_path, "sleep 60"), {}, tmp_path / "run") as run:
        assert os.getpid() not in [process.pid for process in processes_of(run)]


def test_a_directory_that_holds_a_run_is_refused_and_kept(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("{}")
    with pytest.raises(RunError, match="it already holds a run"):
        with running(recipe(tmp_path, "true"), {}, tmp_path):
            pytest.fail("it started")
    assert metrics.read_text() == "{}"


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(RunError, match="no-recipe.sh: no such file; start from the root of the repository"):
        with running(tmp_path / "no-recipe.sh", {}, tmp_path / "run"):
            pytest.fail("it started")


def test_reasons_are_the_last_lines_that_name_an_error_without_decoration(tmp_path):
    log = tmp_path / "trainer.log"
    log.write_text(
        "step 1\n"
        "\x1b[36m(WorkerDict pid=12)\x1b[0m ValueError: first\n"
        "\x1b[36m(WorkerDict pid=12)\x1b[0m ValueError: first\n"
        "frpo-verl: warning: doubtful\n"
        "ray.exceptions.RayTaskError(RuntimeError): ray::run()\n"
        "RuntimeError: second\n"
        "Training Progress\n"
    )
    assert reasons(log, most=2) == ["ray.exceptions.RayTaskError(RuntimeError): ray::run()", "RuntimeError: second"]
    assert "ValueError: first" in reasons(log)


def test_a_log_without_errors_gives_its_last_lines(tmp_path):
    log = tmp_path / "trainer.log"
    log.write_text("one\n\ntwo\nthree\n")
    assert reasons(log, most=2) == ["two", "three"]
