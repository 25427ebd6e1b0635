"""Checks that the tests notice: every mutant is a plausible mistake, and each must turn the tests red.

`PYTHONPATH=tests python -m mutants` puts one mistake at a time into a copy of the package and runs the tests of that
file; for a file of the core, then those of the whole core. The same tests must be green on a copy without a mistake.
A mutant that survives is an error, and so is one that proves nothing: its text is no longer in the code, it does not
import, it takes too long, or pytest gives no verdict. `--only TEXT` runs those whose description contains TEXT.
"""

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

from mutants import FIRST, MUTANTS, Mutant
from mutants.mutant import PACKAGE, faults, mutated

TESTS = PACKAGE.parent / "tests"
CORE = ("advantage", "divergences", "checks.py", "masking.py", "rows.py")
SECONDS = 300
"""Limit of a mutant's time on a processor; six times as long may pass, for tests that wait."""

# Neither the package nor verl, whose import loads it.
IMPORTED_ONCE = (
    *("pytest", "hypothesis", "beartype", "jaxtyping", "torch", "numba", "sympy", "pandas", "datasets"),
    *("hydra", "ray", "tensordict", "transformers", "peft", "torch.distributed.tensor"),
)

KILLED, SURVIVED, NO_VERDICT = "killed", "survived", "no verdict"
_VERDICT = "verdict"


class Job(NamedTuple):
    """Test files to run on a mutant, or on the package as it is; those to run after them if they stay green."""

    mutant: Mutant | None
    files: tuple[str, ...]
    then: tuple[str, ...] = ()


class Running(NamedTuple):
    """A job in a process of its own, with a folder of its own."""

    job: Job
    process: multiprocessing.Process
    folder: Path
    began: float


class Verdict(NamedTuple):
    """Outcome of a job: `KILLED` by a test, `SURVIVED`, or `NO_VERDICT` for a reason."""

    kind: str
    why: str = ""


class _Watch:
    """A pytest plugin that remembers the first test that failed and the first file that could not be collected."""

    failed = ""
    uncollected = ""

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid.removeprefix("tests/")

    def pytest_collectreport(self, report) -> None:
        if report.failed and not self.uncollected:
            self.uncollected = f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}"


def own_tests(file: str) -> tuple[str, ...]:
    """Returns the test files for a file of the package."""
    path = Path(file)
    return FIRST.get(file, (str(path.parent / f"test_{path.name}"),))


def core_tests() -> tuple[str, ...]:
    """Returns the test files of the core, but for the one that runs the others on divergences of a user's own."""
    found = (path for name in CORE for path in (TESTS / name).rglob("test_*.py") if path.name != "test_own.py")
    files = [f"test_{name}" for name in CORE if name.endswith(".py")]
    return (*sorted(str(path.relative_to(TESTS)) for path in found), *files)


def in_core(file: str) -> bool:
    """Tells whether a file of the package belongs to the core, all of whose tests may notice a mistake in it."""
    return file.split("/")[0] in CORE


def job_of(mutant: Mutant) -> Job:
    """Returns the tests of the file, and for the core those of everything else in it."""
    own = own_tests(mutant.file)
    return Job(mutant, own, tuple(name for name in core_tests() if name not in own) if in_core(mutant.file) else ())


def baselines(jobs: list[Job]) -> Iterator[Job]:
    """Yields the runs without a mistake of every test file that is to run on one with a mistake."""
    core = {name for job in jobs if job.then for name in (*job.files, *job.then)}
    others = {name for job in jobs for name in job.files} - core
    for names in (core, others):
        if names:
            yield Job(None, tuple(sorted(names)))


def _test(job: Job, folder: Path) -> None:
    """Runs in the forked process: pytest on a copy of the package, whose verdict goes into a file."""
    os.setsid()
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    shutil.copytree(PACKAGE, folder / "frpo_verl", ignore=shutil.ignore_patterns("__pycache__"))
    if job.mutant is not None:
        (folder / "frpo_verl" / job.mutant.file).write_text(mutated(job.mutant))
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(TESTS)])
    if job.mutant is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, resource.RLIM_INFINITY))
    (folder / _VERDICT).write_text("\n".join(_judged(job)))
    # Threads and pools that tests leave would be waited for.
    os._exit(0)


def _judged(job: Job) -> Verdict:
    import pytest

    watch = _Watch()
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore"]
    options += ["--rootdir", str(TESTS.parent), "-c", str(TESTS.parent / "pyproject.toml")]
    status = pytest.main([*options, *(str(TESTS / name) for name in job.files)], plugins=[watch])
    if job.mutant is not None:
        try:
            importlib.import_module("frpo_verl." + job.mutant.file.removesuffix(".py").replace("/", "."))
        except Exception as error:
            return Verdict(NO_VERDICT, f"it does not import: {type(error).__name__}: {error}")
    if watch.uncollected:
        return Verdict(NO_VERDICT, f"tests cannot be collected: {watch.uncollected}")
    if status == pytest.ExitCode.TESTS_FAILED:
        return Verdict(KILLED, watch.failed)
    if status == pytest.ExitCode.OK:
        return Verdict(SURVIVED)
    return Verdict(NO_VERDICT, f"pytest ended with {status!r}")


def _started(job: Job, folder: Path) -> Running:
    folder.mkdir()
    process = multiprocessing.get_context("fork").Process(target=_test, args=(job, folder))
    process.start()
    return Running(job, process, folder, time.monotonic())


def _ended(run: Running) -> Verdict | None:
    """Returns the verdict of a process that is over, and ends one that takes too long."""
    late = run.process.is_alive()
    if late and (run.job.mutant is None or time.monotonic() - run.began < 6 * SECONDS):
        return None
    if late:
        os.killpg(run.process.pid, signal.SIGKILL)
    run.process.join()
    written, status = run.folder / _VERDICT, run.process.exitcode
    if late or status == -signal.SIGXCPU:
        verdict = Verdict(NO_VERDICT, "the tests do not end")
    elif written.exists():
        verdict = Verdict(*written.read_text().split("\n", 1))
    elif status < 0:
        verdict = Verdict(KILLED, f"a crash ({signal.Signals(-status).name})")
    else:
        verdict = Verdict(NO_VERDICT, (run.folder / "output").read_text()[-2000:])
    shutil.rmtree(run.folder)
    return verdict


def verdicts(jobs: list[Job], processes: int) -> Iterator[tuple[Job, Verdict, float]]:
    """Yields each job with its verdict and its seconds, in the order in which they end."""
    waiting, running, number = deque(jobs), [], 0
    with tempfile.TemporaryDirectory() as scratch:
        while waiting or running:
            while waiting and len(running) < processes:
                number += 1
                running.append(_started(waiting.popleft(), Path(scratch) / str(number)))
            wait([run.process.sentinel for run in running], timeout=1)
            for run in list(running):
                if (verdict := _ended(run)) is None:
                    continue
                running.remove(run)
                if verdict.kind == SURVIVED and run.job.then:
                    waiting.appendleft(Job(run.job.mutant, run.job.then))
                else:
                    yield run.job, verdict, time.monotonic() - run.began


def _import_once() -> None:
    """Imports what most of a test run's time would go to; the forked processes have it already."""
    for name in IMPORTED_ONCE:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    unusable = [f"{mutant}: {fault}" for mutant in MUTANTS for fault in faults(mutant)]
    if unusable:
        print(*unusable, sep="\n", file=sys.stderr)
        return 1
    _import_once()
    began = time.monotonic()
    jobs = [job_of(mutant) for mutant in MUTANTS if options.only in str(mutant)]
    bad = 0
    for job, verdict, seconds in verdicts([*baselines(jobs), *jobs], options.processes):
        if job.mutant is None and verdict.kind != SURVIVED:
            print(f"the tests are red without any mistake: {verdict.why}", file=sys.stderr)
            return 1
        if job.mutant is None:
            print(f"without a mistake, {len(job.files)} files are green ({seconds:.0f} s)", flush=True)
            continue
        bad += verdict.kind != KILLED
        print(f"{verdict.kind} ({seconds:.0f} s): {job.mutant} {verdict.why}", flush=True)
    used = os.times()
    spent = f"{time.monotonic() - began:.0f} s, {used.children_user + used.children_system:.0f} s of processors"
    print(f"{len(jobs) - bad} of {len(jobs)} mutants killed in {spent}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
