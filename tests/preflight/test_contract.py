"""The table of verl symbols against the installed verl."""

import importlib
import warnings
from types import ModuleType

import pytest

from frpo_verl.preflight import contract
from frpo_verl.preflight.contract import CONTRACT, Symbol, mismatch
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import hooks

pytest.importorskip("verl")


@pytest.mark.parametrize("symbol", CONTRACT, ids=lambda symbol: f"{symbol.module}.{symbol.name}")
def test_the_installed_verl_has_it_as_expected(symbol):
    if symbol not in contract.of_this_host():
        pytest.skip(f"new in verl {symbol.since}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(symbol.module)
    assert mismatch(symbol, module) is None


def test_every_hooked_module_is_in_the_table_and_the_reverse():
    hooked = {module for module in hooks.HOOKS if module.startswith("verl.")}
    assert {symbol.module for symbol in CONTRACT} == hooked


def test_a_symbol_that_is_gone_is_named():
    symbol = Symbol("verl.fake", "Trainer.fit", (), "test")
    assert mismatch(symbol, ModuleType("verl.fake")) == "verl.fake.Trainer.fit is gone"


def test_a_lost_parameter_is_named():
    module = ModuleType("verl.fake")
    module.advantage = lambda data, lam: None
    symbol = Symbol("verl.fake", "advantage", ("data", "gamma"), "test")
    assert mismatch(symbol, module) == "verl.fake.advantage has no parameter gamma"


def test_a_missing_verl_is_one_sentence_with_the_fix(monkeypatch):
    def missing(name):
        raise contract.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(contract.importlib.metadata, "version", missing)
    with pytest.raises(HostError, match=r"verl is not installed; pip install 'verl==0\.9\.1'"):
        contract.check_version()
