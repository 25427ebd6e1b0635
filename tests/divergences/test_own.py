"""A divergence of a user's own, as the README makes it, under the same proofs as ours."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROOFS = (
    "divergences/test_catalogue.py",
    "divergences/test_forms.py",
    "advantage/test_frpo.py",
    "advantage/test_batch.py",
    "advantage/test_future.py",
)
OWN = """
import torch
from frpo_verl.divergences import Generator, from_f

FOURTH = from_f("fourth power", lambda u: (u - 1) ** 4)
BY_DELTA = Generator("fourth by delta", lambda d: 1 - d.exp() ** -2, lambda d: torch.expm1(-d) ** 2)
WRONG = FOURTH._replace(name="wrong power", local=lambda delta: 2 * FOURTH.local(delta))
"""


@pytest.fixture
def prove(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the proofs on the device of this run, and with or without its run-time types."""
    (tmp_path / "my_divergences.py").write_text(OWN)
    files = [str(TESTS / proof) for proof in PROOFS]
    program = f"import sys, pytest; sys.path.insert(0, {str(tmp_path)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    as_here = ["-o", f"addopts={shlex.join(request.config.getini('addopts'))}", "--import-mode=importlib"]
    as_here += ["--device", request.config.getoption("--device"), "-W", "ignore", "-p", "no:cacheprovider"]

    def prove(keyword: str, *names: str) -> subprocess.CompletedProcess:
        own = [word for name in names for word in ("--divergence", f"my_divergences:{name}")]
        options = [*as_here, *own, "-k", keyword]
        command = [sys.executable, "-P", "-c", program, *options, "--rootdir", str(TESTS.parent), *files]
        return subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent)

    return prove


def test_the_proofs_run_on_it(prove):
    done = prove("fourth-power or (by-delta and not finite and not half)", "FOURTH", "BY_DELTA")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_and_they_find_a_mistake_in_it(prove):
    done = prove("wrong-power", "WRONG")
    assert done.returncode == 1
    assert "test_the_expected_gradient_is_that_of_the_objective" in done.stdout
