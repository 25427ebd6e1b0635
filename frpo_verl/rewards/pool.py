"""Questions with a time limit: a few processes per reward process, of which none can stall the others.

Not multiprocessing, nor a pool on top of it: its children run the parent's main program again, which takes Ray along
into each of them, ends in an error in a program without a `__main__` guard, and makes a replacement import
everything anew. A reward process may be daemonic, has many threads, and holds what must not be forked.
"""

import atexit
import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from typing import Any, NamedTuple

from frpo_verl.rewards import worker

_START_SECONDS = 120.0
"""For imports on a busy machine."""

_GRACE_SECONDS = 10.0
"""A worker that says nothing for so much longer than a question may take is not there any more."""


class Limits(NamedTuple):
    """What a question may cost.

    Attributes:
        workers: processes, hence questions at the same time.
        seconds: wall-clock time of a question.
        memory_mib: memory of a question, MiB beyond that of an idle worker.
    """

    workers: int
    seconds: float
    memory_mib: int


class Task(NamedTuple):
    """What answers the questions.

    Attributes:
        module: its module, imported in the workers only.
        function: its name; takes JSON values, returns True or False.
        example: a question that costs little.
        needs: what to install if the workers cannot start.
    """

    module: str
    function: str
    example: tuple[Any, ...]
    needs: str


class Pool:
    """Workers for one task, started at once (nobody waits for them) and replaced when lost.

    Args:
        task: what answers.
        limits: of a question.
    """

    def __init__(self, task: Task, limits: Limits):
        self._workers = [_Worker(task, limits) for _ in range(limits.workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for each in self._workers:
            self._idle.put(each)

    def ask(self, *question: Any) -> bool | None:
        """Asks, from any thread; waits while all workers are busy.

        Args:
            *question: what the task's function takes.

        Returns:
            Its answer, or None if there was none within the limits.

        Raises:
            RuntimeError: the workers cannot start, and why.
        """
        free = self._idle.get()
        try:
            return free.ask(json.dumps(question))
        finally:
            self._idle.put(free)

    def close(self) -> None:
        """Ends all workers, and what they are at."""
        for each in self._workers:
            each.end()

    def forget(self) -> None:
        """Lets go of the workers of another process, in its fork."""
        for each in self._workers:
            each.forget()


class _Worker:
    def __init__(self, task: Task, limits: Limits):
        self._task, self._limits = task, limits
        self._ready = False
        self._start()

    def ask(self, question: str) -> bool | None:
        # A worker that somebody else killed is no fault of the question: it is asked again, once.
        for _ in range(2):
            self._wait_until_ready()
            line = self._exchange(question)
            if line in (worker.YES, worker.NO):
                return line == worker.YES
            if line == worker.LOST:
                return None
            self.end()
            self._start()
        return None

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()

    def _start(self) -> None:
        task, limits = self._task, self._limits
        arguments = [task.module, task.function, json.dumps(task.example), str(limits.seconds), str(limits.memory_mib)]
        self._ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", worker.__name__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Where packages came by Ray's py_modules, only the path of this process knows them.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
            # A group of its own: Ctrl-C is not for it, and it can be ended together with its child.
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        line = self._read(_START_SECONDS)
        if line != worker.READY:
            said = line or f"it said nothing in {_START_SECONDS:g} s"
            raise RuntimeError(
                f"{self._task.module}: the process that checks answers cannot start ({said}); {self._task.needs}"
            )
        self._ready = True

    def _exchange(self, question: str) -> str:
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except OSError:
            return ""
        return self._read(self._limits.seconds + _GRACE_SECONDS)

    def _read(self, seconds: float) -> str:
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        return self._process.stdout.readline().strip() if poll.poll(seconds * 1000) else ""


_pools: dict[tuple[Task, Limits], Pool] = {}
_lock = threading.Lock()


def shared(task: Task, limits: Limits) -> Pool:
    """The pool of this process for a task; made at the first call.

    Args:
        task: what answers.
        limits: of a question; other limits are another pool.

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
