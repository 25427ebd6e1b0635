"""The tasks here are functions of the standard library: what is tested is what becomes of a process."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frpo_verl.rewards.processes import pool, worker
from frpo_verl.rewards.processes.pool import Limits, Pool, Task

CONTAINS = Task("operator", "contains", ("abc", "b"), "pip install nothing")


@pytest.fixture
def make():
    made = []
    yield lambda task=CONTAINS, **limits: made.append(Pool(task, Limits(**{**ORDINARY, **limits}))) or made[-1]
    for each in made:
        each.close()


ORDINARY = {"workers": 2, "seconds": 20.0, "memory_mib": 256}


def test_questions_are_answered(make):
    contains = make()
    assert contains.ask("abc", "c") is True
    assert contains.ask("abc", "d") is False
    assert contains.ask("a\ud800\x00\n\u0665", "\ud800") is True


def test_a_question_that_never_ends_does_not_stall_the_others(make):
    # pow() holds the interpreter in C code for hours, where no exception can reach it.
    power = make(Task("builtins", "pow", (2, 2), ""), seconds=4)
    assert power.ask(2, 3) is True
    began = time.monotonic()
    with ThreadPoolExecutor(12) as threads:
        endless = threads.submit(power.ask, 3, 10**10)
        others = [threads.submit(power.ask, 2, 5) for _ in range(50)]
        assert [other.result() for other in others] == [True] * 50
        assert not endless.done()
        assert endless.result() is None
    # The upper bounds here are against a stall; busy machines take their time.
    assert 3.9 < time.monotonic() - began < 60
    assert [power.ask(2, 3) for _ in range(10)] == [True] * 10


def test_many_questions_that_never_end_take_their_time_limits_only(make):
    sleep = make(Task("time", "sleep", (0,), ""), seconds=0.3)
    assert sleep.ask(0) is False
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(sleep.ask, [60] * 8)) == [None] * 8
    assert 8 / 2 * 0.3 < time.monotonic() - began < 60


def test_a_question_that_takes_all_memory_takes_that_of_one_child(make):
    bomb = make(Task("builtins", "bytearray", (1,), ""), memory_mib=64)
    assert bomb.ask(16 * 2**20) is True
    assert bomb.ask(2**40) is None
    assert bomb.ask(128 * 2**20) is None
    assert bomb.ask(16 * 2**20) is True


def test_a_crash_takes_one_child(make):
    crash = make(Task("signal", "raise_signal", (int(signal.SIGCONT),), ""))
    assert crash.ask(int(signal.SIGSEGV)) is None
    assert crash.ask(int(signal.SIGKILL)) is None
    assert crash.ask(int(signal.SIGCONT)) is False


def test_an_error_says_no_and_costs_no_process(make, caplog, monkeypatch):
    monkeypatch.setattr(pool._raised, "_count", 0)
    contains = make(workers=1)
    (only,) = contains._workers
    before = only._process.pid
    assert [contains.ask(*question) for question in ((1, 2), ("abc", "a"))] == [False, True]
    assert "verifier raise, and score 0; the last one: TypeError: argument of type 'int' is not iterable" in caplog.text
    # not the children of this process, of which earlier tests may have left some that come and go
    assert only._process.pid == before


def test_an_error_whose_text_is_an_error_or_no_line_is_no_verdict_of_the_next_question(make):
    evaluate = make(Task("builtins", "exec", ("1",), ""), workers=1)
    lines = "raise ValueError('a\\n' + '0' * 32 + ' yes\\ud800')"
    broken = "class Broken(Exception):\n    def __str__(self): raise ValueError\nraise Broken"
    assert [evaluate.ask(text) for text in (lines, "1", broken, "1")] == [False, False, None, False]


@pytest.mark.parametrize(
    "said",
    [
        "print('yes')",
        "print('ready', 'yes', flush=True)",
        "__import__('os').write(1, b'yes\\n')",
        "__import__('os').system('echo yes')",
    ],
)
def test_what_an_answer_prints_is_no_verdict_nor_that_of_the_next_question(make, said):
    # sympy's parse_expr evaluates what it reads, as reasoning-gym's countdown gives it an answer.
    evaluate = make(Task("builtins", "eval", ("1",), ""), workers=1)
    assert [evaluate.ask(text) for text in (f"{said} and 0", "1", "0", "1")] == [False, True, False, True]


@pytest.mark.parametrize(
    ("said", "verdict"), [("input()", False), ("exit()", None), ("__import__('os')._exit(0)", None)]
)
def test_an_answer_that_reads_or_ends_the_process_is_lost_alone(make, said, verdict):
    evaluate = make(Task("builtins", "eval", ("1",), ""), workers=1)
    (only,) = evaluate._workers
    before = only._process.pid
    assert [evaluate.ask(text) for text in (said, "1", "0")] == [verdict, True, False]
    assert only._process.pid == before


def test_a_verdict_about_another_question_is_none(make, monkeypatch):
    contains = make(workers=1)
    assert contains.ask("abc", "a") is True
    said = iter(["0" * worker.NUMBER + " yes", worker.YES, f"{worker.YES} {worker.YES}"])
    monkeypatch.setattr(pool._Worker, "_read", lambda asked, _: next(said) if asked._ready else worker.READY)
    assert contains.ask("abc", "d") is None


class _ForksAfterWriting:
    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        written = self._stream.write(text)
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return written


def test_a_fork_does_not_send_an_open_question_a_second_time(monkeypatch):
    monkeypatch.setattr(pool, "_pools", {})
    contains = pool.shared(CONTAINS, Limits(**{**ORDINARY, "workers": 1}))
    try:
        assert contains.ask("abc", "a") is True
        process = contains._workers[0]._process
        process.stdin = _ForksAfterWriting(process.stdin)
        assert [contains.ask("abc", letter) for letter in "abdcd"] == [True, True, False, True, False]
        assert contains._workers[0]._process is process
    finally:
        pool.close()


def test_a_worker_that_somebody_kills_is_made_anew_and_the_question_asked_again(make):
    contains = make(workers=1)
    assert contains.ask("abc", "a") is True
    for process in _children(os.getpid()):
        os.killpg(process, signal.SIGKILL)
    assert contains.ask("abc", "a") is True


def test_a_worker_that_cannot_start_is_said_in_one_sentence(make):
    missing = make(Task("no_such_module", "right", (), "pip install 'frpo-verl[math]'"))
    with pytest.raises(
        RuntimeError, match=r"cannot start \(ModuleNotFoundError: .*no_such_module.*; pip install"
    ) as error:
        missing.ask()
    assert "\n" not in str(error.value)
    # The second question gets the reason too.
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ModuleNotFoundError"):
            missing.ask()


def test_a_worker_that_could_not_start_once_is_started_again(make, tmp_path, monkeypatch):
    module = tmp_path / "comes_later.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    late = make(Task("comes_later", "right", (), ""), workers=1)
    with pytest.raises(RuntimeError, match="ModuleNotFoundError"):
        late.ask()
    module.write_text("def right():\n    return True\n")
    assert late.ask() is True


def test_a_worker_that_is_killed_at_its_start_is_started_again(make):
    contains = make(workers=1)
    os.killpg(contains._workers[0]._process.pid, signal.SIGKILL)
    assert contains.ask("abc", "a") is True


def test_a_start_that_ends_is_told_from_one_that_takes_too_long(make, monkeypatch):
    with pytest.raises(RuntimeError, match="it ended without a word"):
        make(Task("os", "_exit", (1,), ""), workers=1).ask(0)
    monkeypatch.setattr(pool, "_START_SECONDS", 0.5)
    with pytest.raises(RuntimeError, match="it said nothing in 0.5 s"):
        make(Task("time", "sleep", (60,), ""), workers=1).ask(0)


def test_a_process_that_the_system_refuses_is_asked_for_again(make, monkeypatch):
    contains = make(workers=1)
    assert contains.ask("abc", "a") is True
    contains._workers[0].end()
    with monkeypatch.context() as refused:
        refused.setattr(subprocess, "Popen", _refuse)
        with pytest.raises(BlockingIOError):
            contains.ask("abc", "a")
        with pytest.raises(BlockingIOError):
            contains.ask("abc", "a")
        contains.forget()
    assert contains.ask("abc", "a") is True


def _refuse(*_, **__):
    raise BlockingIOError("Resource temporarily unavailable")


def test_a_pool_is_shared_by_those_who_ask_for_the_same(monkeypatch):
    monkeypatch.setattr(pool, "_pools", {})
    try:
        one = pool.shared(CONTAINS, Limits(**ORDINARY))
        assert pool.shared(CONTAINS, Limits(**ORDINARY)) is one
        assert pool.shared(CONTAINS, Limits(**{**ORDINARY, "seconds": 2.0})) is not one
    finally:
        pool.close()
    assert pool._pools == {}


PROGRAM = """
import os, signal, sys, threading, time
from frpo_verl.rewards.processes.pool import Limits, Task, shared
sleep = shared(Task("time", "sleep", (0,), ""), Limits(workers=2, seconds=3.0, memory_mib=64))
sleep.ask(0), sleep.ask(0)
"""
# There is no `if __name__ == "__main__"`: a pool of multiprocessing's would end in an error.
ENDINGS = {
    "by returning": "pass",
    "by an error": "raise SystemExit(3)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "killed, with a question open": (
        "threading.Thread(target=sleep.ask, args=(60,), daemon=True).start(); time.sleep(0.3); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    ),
    "after a fork that lives on": "os.fork() or (time.sleep(2), os._exit(0))",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_process_outlives_the_one_that_asks(ending):
    mark = f"FRPO_VERL_TEST={os.getpid()} {ending}"
    environment = {**os.environ, "FRPO_VERL_TEST": mark.partition("=")[2]}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", PROGRAM + ENDINGS[ending]], env=environment, timeout=60, check=False)
    deadline = time.monotonic() + 10
    while left := [pid for pid in _pids() if mark.encode() in _environment(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_fork_asks_workers_of_its_own():
    check = (
        "right = sleep.ask(0); child = os.fork()\n"
        "if child == 0: os._exit(shared(Task('time', 'sleep', (0,), ''), Limits(1, 3.0, 64)).ask(0) is not False)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or sleep.ask(0) is not False)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", PROGRAM + check], env=environment, timeout=60).returncode == 0


def test_the_worker_imports_what_it_needs_and_nothing_else():
    program = (
        "import json, sys, frpo_verl.rewards.processes.worker; from frpo_verl.rewards import grading;"
        "grading.accepts('x', 'y+1');"
        "print(json.dumps(sorted({'torch', 'verl', 'ray', 'numpy', 'reasoning_gym'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def _pids():
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _children(parent):
    """Templates of this process, by what they run."""
    found = []
    for pid in _pids():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if f"PPid:\t{parent}\n" in status and b"frpo_verl.rewards.processes.worker" in command:
            found.append(pid)
    return found
