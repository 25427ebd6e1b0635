"""Runs verifiers in a process that may be lost over a question. `pool` starts it as a program of its own.

It imports what it needs once and forks. The child answers line by line until a question takes longer than the limit;
then the kernel's timer ends it, whatever code is running. The next child continues within milliseconds, with everything
imported. Both end when the input ends, so that they never outlive the process that asks.

A verifier may run what an answer says (sympy's parse_expr does), including `print` and `input`. Therefore questions and
verdicts use descriptors that such code does not have.
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
from typing import TextIO

READY, YES, NO, RAISED, LOST = "ready", "yes", "no", "raised", "lost"
"""Messages to the parent: READY once, then YES, NO, RAISED with the error, or LOST (no verdict within the limits), each
prefixed with the question's id."""

NUMBER = 32
"""Hexadecimal digits of an id. Random, so that code run by a verifier cannot predict the next one."""

_NONE = bytes(NUMBER)
_INPUT_ENDED = 0


def main(module: str, function: str, example: str, seconds: str, memory: str) -> None:
    """Serves until the input ends.

    Args:
        module: what to import.
        function: its function, which takes a question and answers with True or False.
        example: a question as JSON, so that what is loaded or compiled late is there before the first fork.
        seconds: wall-clock limit of a question.
        memory: MiB that the child may use beyond what it starts with.
    """
    logging.disable()
    questions, verdicts = _take_over(0, "r"), _take_over(1, "w")
    try:
        answer = getattr(importlib.import_module(module), function)
        answer(*json.loads(example))
    # The process that asks reports it, whatever it is.
    except Exception as error:
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=verdicts, flush=True)
        return
    print(READY, file=verdicts, flush=True)
    current = mmap.mmap(-1, NUMBER)
    while True:
        child = os.fork()
        if child == 0:
            _limit_memory(int(memory))
            _serve(answer, float(seconds), current, questions, verdicts)
            os._exit(_INPUT_ENDED)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if any(current):
            print(current[:].decode(), LOST, file=verdicts, flush=True)
            current[:] = _NONE
        elif status == _INPUT_ENDED:
            return


def _take_over(descriptor: int, mode: str) -> TextIO:
    """Moves a standard stream to another descriptor; the standard one then leads nowhere."""
    taken = os.fdopen(os.dup(descriptor), mode)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return taken


def _serve(
    answer: Callable[..., bool], seconds: float, current: mmap.mmap, questions: TextIO, verdicts: TextIO
) -> None:
    for line in questions:
        number, _, question = line.partition(" ")
        current[:] = number.encode()
        signal.setitimer(signal.ITIMER_REAL, seconds)
        verdict = _verdict(answer, question)
        signal.setitimer(signal.ITIMER_REAL, 0)
        current[:] = _NONE
        print(number, verdict, file=verdicts, flush=True)


def _verdict(answer: Callable[..., bool], question: str) -> str:
    try:
        return YES if answer(*json.loads(question)) else NO
    except MemoryError:
        # The limit: what is left of this process may be damaged.
        raise
    # Whatever a verifier raises at a strange answer is for the log, and no reason to lose the process.
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return f"{RAISED} {said.encode('ascii', 'backslashreplace').decode()}"


def _limit_memory(mebibytes: int) -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = held + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(*sys.argv[1:])
