"""Shared by all tests: reproducible randomness, and every divergence under the same proofs."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The time of an example on a shared machine says nothing of the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

RUNS = "tests/e2e/"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--divergence",
        action="append",
        default=[],
        metavar="NAME",
        help="also prove this divergence: a name that frpo_verl.divergences.by_name knows, "
        "for instance my_package.my_module:MY_GENERATOR (repeatable)",
    )

    parser.addoption(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="where tests make their tensors, for instance cuda; of use for tests/advantage and tests/divergences",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") != "cpu":
        import torch

        torch.set_default_device(config.getoption("--device"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what takes longest first: the trainer's runs, of which the cluster, which needs most memory, comes last."""
    items.sort(key=lambda item: (not item.nodeid.startswith(RUNS), item.path.name == "test_cluster.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps the trainer's runs on one worker, one after the other (`--dist loadfile`)."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneRunAtATime(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return RUNS if nodeid.startswith(RUNS) else super()._split_scope(nodeid)

    return OneRunAtATime(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "generator" in metafunc.fixturenames:
        from frpo_verl.divergences import CATALOGUE, alpha, by_name

        orders = (-1.5, 0.3, 0.5, 1.7, 3)
        generators = [*CATALOGUE, *map(alpha, orders), *map(by_name, metafunc.config.getoption("--divergence"))]
        metafunc.parametrize("generator", generators, ids=lambda generator: generator.name.replace(" ", "-"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _where_ray_keeps_its_clusters() -> Iterator[None]:
    """Keeps Ray from joining a cluster of this machine unasked: another test's, or the developer's.

    The folder is not below pytest's own, whose paths are too long for Ray's sockets.
    """
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        patched.setenv("RAY_TMPDIR", folder)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the quickstart's tiny model, unless another worker of the same session has."""
    from frpo_verl.quickstart import tiny

    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return tiny.build(shared / "tiny")


@pytest.fixture
def verls_defaults_are_there(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the files, the model and the GPUs that verl's own configuration names."""
    from frpo_verl.preflight import inputs

    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    home = tmp_path_factory.mktemp("home")
    (home / "models" / "deepseek-llm-7b-chat").mkdir(parents=True)
    (home / "models" / "deepseek-llm-7b-chat" / "config.json").write_text("{}")
    (home / "data" / "rlhf" / "gsm8k").mkdir(parents=True)
    rows = pa.table({"prompt": [[]], "data_source": ["x"], "reward_model": [{"ground_truth": "x"}]}).take([0] * 1024)
    for name in ("train", "test"):
        parquet.write_table(rows, home / "data" / "rlhf" / "gsm8k" / f"{name}.parquet")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(inputs, "_visible_gpus", lambda: 8)
