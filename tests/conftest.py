"""Shared by all tests: reproducible randomness, and every divergence under the same proofs."""

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes on a shared machine is no property of the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


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
