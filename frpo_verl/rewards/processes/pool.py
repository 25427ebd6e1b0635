"""Asks questions with a time limit: a few processes per reward process, none of which can stall the others.

This is not multiprocessing: its children would run the parent's main program again, which loads Ray in each of them,
fails in a program without a `__main__` guard, and makes every replacement import everything again. A reward process may
be daemonic, has many threads, and holds what must not be forked.
"""

import atexit
import contextlib
import json
import os
import queue
import secrets
import select
import signal
import subprocess
import sys
import threading
from typing import Any, NamedTuple

from frpo_verl.rewards.processes import worker
from frpo_verl.rewards.processes.tally import Tally

_START_SECONDS = 120.0
"""For imports on a busy machine."""

_GRACE_SECONDS = 10.0
"""A worker that is silent for so long after the limit of a question is gone."""

_raised = Tally("made their verifier raise, and score 0; the last one: ")


class Limits(NamedTuple):
    """Limits of a question.

    Attributes:
        workers: processes, hence questions at the same time.
        seconds: wall-clock limit.
        memory_mib: memory limit, MiB beyond an idle worker.
    """

    workers: int
    seconds: float
    memory_mib: int


class Task(NamedTuple):
    """The function that answers the questions.

    Attributes:
        module: its module, imported in the workers only.
        function: its name; takes JSON values, returns True or False.
        example: a cheap question.
        needs: what to install if the workers cannot start.
    """

    module: str
    function: str
    example: tuple[Any, ...]
    needs: str


class Pool:
    """Workers for one task, started in the background and replaced when lost.

    Args:
        task: the function that answers.
        limits: of a question.
    """

    def __init__(self, task: Task, limits: Limits):
        self._workers = [_Worker(task, limits) for _ in range(limits.workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for each in self._workers:
            self._idle.put(each)

    def ask(self, *question: Any) -> bool | None:
        """Asks from any thread; waits while all workers are busy.

        Args:
            *question: the arguments of the task's function.

        Returns:
            Its answer, False where it raises, which is logged; None if there was none within the limits.

        Raises:
            RuntimeError: the workers cannot start, and why.
            OSError: the system refuses another process.
        """
        free = self._idle.get()
        try:
            return free.ask(json.dumps(question))
        finally:
            self._idle.put(free)

    def close(self) -> None:
        """Ends all workers and their questions."""
        for each in self._workers:
            each.end()

    def forget(self) -> None:
        """Lets go of the parent's workers after a fork."""
        for each in self._workers:
            each.forget()


class _Worker:
    def __init__(self, task: Task, limits: Limits):
        self._task, self._limits = task, limits
        self._process: subprocess.Popen[bytes] | None
        self._start()

    def ask(self, question: str) -> bool | None:
        # If somebody else killed the worker, the question is not to blame: ask again, once.
        for _ in range(2):
            self._wait_until_ready()
            verdict = self._exchange(question)
            if verdict in (worker.YES, worker.NO):
                return verdict == worker.YES
            if verdict == worker.LOST:
                return None
            if verdict.startswith(worker.RAISED):
                _raised.add(verdict.removeprefix(worker.RAISED).strip())
                return False
            self.end()
        return None

    def end(self) -> None:
        self._ready = False
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()

    def _start(self) -> None:
        task, limits = self._task, self._limits
        arguments = [task.module, task.function, json.dumps(task.example), str(limits.seconds), str(limits.memory_mib)]
        # This state also remains if the system refuses another process.
        self._ready, self._process = False, None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", worker.__name__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # No buffer: a fork between filling and emptying it would send the question twice.
            bufsize=0,
            # Packages that came by Ray's py_modules are on the path of this process only.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
            # A group of its own: it does not get Ctrl-C, and it can be ended together with its child.
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        # Twice: what stops a process from starting on a busy machine may soon be over.
        for _ in range(2):
            if self._process is None or self._process.returncode is not None:
                self._start()
            line = self._read(_START_SECONDS)
            self._ready = line == worker.READY
            if self._ready:
                return
            self.end()
        said = f"it said nothing in {_START_SECONDS:g} s" if line is None else line or "it ended without a word"
        raise RuntimeError(
            f"{self._task.module}: the process that checks answers cannot start ({said}); {self._task.needs}"
        )

    def _exchange(self, question: str) -> str:
        """Returns the verdict, or something else if the worker is lost or answers another question."""
        number = secrets.token_hex(worker.NUMBER // 2)
        left = f"{number} {question}\n".encode()
        try:
            while left:
                left = left[self._process.stdin.write(left) :]
        except OSError:
            return ""
        about, _, verdict = (self._read(self._limits.seconds + _GRACE_SECONDS) or "").partition(" ")
        return verdict if about == number else ""

    def _read(self, seconds: float) -> str | None:
        """Reads a line; empty at the end of the file, None if there is none in time."""
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        return self._process.stdout.readline().decode().strip() if poll.poll(seconds * 1000) else None


_pools: dict[tuple[Task, Limits], Pool] = {}
_lock = threading.Lock()


def shared(task: Task, limits: Limits) -> Pool:
    """Returns the pool of this process for a task; makes it at the first call.

    Args:
        task: the function that answers.
        limits: of a question; other limits make another pool.

    Returns:
        The pool.
    """
    with _lock:
        if (task, limits) not in _pools:
            _pools[task, limits] = Pool(task, limits)
        return _pools[task, limits]


@atexit.register
def close() -> None:
    """Ends all workers of this process."""
    while _pools:
        _pools.popitem()[1].close()


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    while _pools:
        _pools.popitem()[1].forget()


os.register_at_fork(after_in_child=_forget)
