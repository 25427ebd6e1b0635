"""Does a test notice? Every line of `MUTANTS` is a plausible mistake in the mathematics; each must turn the tests red.

`PYTHONPATH=tests python -m mutants` makes copies of the package with one mistake each and runs the core's tests on
them, after the same tests were green on a copy without a mistake. A mutant that survives, or whose text is no longer
in the code, ends it with an error. `--only TEXT` runs those whose name contains TEXT.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mutants import FIRST, MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("advantage", "divergences", "test_masking.py", "test_rows.py")


def places(mutant: Mutant) -> int:
    """How often the text to be changed stands in its file; anything but 1 means that the mutant is out of date."""
    return (ROOT / "frpo_verl" / mutant.file).read_text().count(mutant.right)


def copy_of_the_package(directory: Path, mutant: Mutant | None) -> Path:
    """The package under `directory`, with the mistake."""
    shutil.copytree(ROOT / "frpo_verl", directory / "frpo_verl", ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        file = directory / "frpo_verl" / mutant.file
        file.write_text(file.read_text().replace(mutant.right, mutant.wrong))
    return directory


def red(mutant: Mutant | None) -> bool:
    """Runs the tests on a copy, in a process of their own that has torch and pytest already; True when one fails."""
    with tempfile.TemporaryDirectory() as directory:
        package = copy_of_the_package(Path(directory), mutant)
        child = os.fork()
        if child == 0:
            sys.path.insert(0, str(package))
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            import pytest

            os._exit(pytest.main([*_arguments(mutant), *_order(mutant)]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # 2 to 5 are runs that were interrupted or did not start: no verdict. A negative status is a crash: noticed.
    if status > 1:
        raise RuntimeError(f"pytest ended with {status} on {mutant}")
    return status != 0


def _arguments(mutant: Mutant | None) -> list[str]:
    stop = [] if mutant is None else ["-x"]
    return [
        *stop,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "ignore",
        "--rootdir",
        str(ROOT),
        "-c",
        str(ROOT / "pyproject.toml"),
    ]


def _order(mutant: Mutant | None) -> Iterator[str]:
    """The test files where the mistake should show first, then all others."""
    files = [path for name in TESTS for path in sorted((ROOT / "tests" / name).rglob("test_*.py"))]
    files += [ROOT / "tests" / name for name in TESTS if name.endswith(".py")]
    if mutant is not None:
        path = Path(mutant.file)
        first = FIRST.get(mutant.file, (str(path.parent / f"test_{path.name}"),))
        files = [ROOT / "tests" / name for name in first] + files
    return (str(path) for path in dict.fromkeys(files))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    # Imported once and forked from then on: most of a test run's time is importing these.
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    stale = [mutant for mutant in MUTANTS if places(mutant) != 1]
    for mutant in stale:
        print(f"{mutant.file}: {mutant.right!r} stands there {places(mutant)} times, not once", file=sys.stderr)
    if stale:
        return 1
    chosen = [mutant for mutant in MUTANTS if options.only in f"{mutant.file}: {mutant.right}"]
    survivors = []
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        # The run without a mistake takes longest and goes first, beside the others.
        results = pool.imap(red, [None, *chosen])
        if next(results):
            print("the tests are red without any mistake", file=sys.stderr)
            return 1
        for mutant, killed in zip(chosen, results, strict=True):
            if not killed:
                survivors.append(mutant)
                print(f"survived: {mutant.file}: {mutant.right!r} -> {mutant.wrong!r}", file=sys.stderr, flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
