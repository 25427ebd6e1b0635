"""A process that answers questions and may be lost over one. `pool` starts it, as a program of its own.

It imports what it needs once and forks. The child answers line by line until a question takes longer than the limit,
which the kernel's timer ends, whatever code is running. The next child goes on within milliseconds, with everything
imported. The end of the input is the end of both, so that they do not outlive the process that asks.
"""

import importlib
import json
import logging
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

READY, YES, NO, LOST = "ready", "yes", "no", "lost"
"""The lines that are sent: once, at the start; two verdicts; that there is none within the limits."""

_INPUT_ENDED = 0


def main(module: str, function: str, example: str, seconds: str, memory: str) -> None:
    """Serves until the input ends.

    Args:
        module: what to import.
        function: its function, which takes a question and answers with True or False.
        example: a question as JSON, so that what is loaded or compiled late is there before the first fork.
        seconds: wall-clock time of a question.
        memory: MiB that the child may have beyond what it starts with.
    """
    logging.disable()
    try:
        answer = getattr(importlib.import_module(module), function)
        answer(*json.loads(example))
    # Whatever it is, the process that asks says it.
    except Exception as error:
        print(f"{type(error).__name__}: {error}".splitlines()[0], flush=True)
        return
    print(READY, flush=True)
    busy = mmap.mmap(-1, 1)
    while True:
        child = os.fork()
        if child == 0:
            _limit_memory(int(memory))
            _serve(answer, float(seconds), busy)
            os._exit(_INPUT_ENDED)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == _INPUT_ENDED:
            return
        if busy[0]:
            busy[0] = False
            print(LOST, flush=True)


def _serve(answer: Callable[..., bool], seconds: float, busy: mmap.mmap) -> None:
    for line in sys.stdin:
        busy[0] = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        verdict = answer(*json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        busy[0] = False
        print(YES if verdict else NO, flush=True)


def _limit_memory(mebibytes: int) -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = held + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(*sys.argv[1:])
