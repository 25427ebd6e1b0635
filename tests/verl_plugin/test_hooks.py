"""The table of hooks: several functions per module, in order, and modules that do not fit."""

from types import ModuleType, SimpleNamespace

import pytest

from frpo_verl.preflight import contract
from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin import hooks


@pytest.fixture
def module(monkeypatch) -> ModuleType:
    monkeypatch.setattr(contract, "problems", [])
    monkeypatch.setattr(contract, "verl_version", lambda: "0.9.1")
    monkeypatch.delenv("FRPO_VERL_STRICT", raising=False)
    return ModuleType("verl.fake")


def _raising(module):
    raise HostError("the loss is taken")


def test_every_function_of_a_module_runs_in_order(module, monkeypatch):
    ran = []
    functions = tuple(lambda module, n=n: ran.append((n, module)) for n in range(3))
    monkeypatch.setitem(hooks.HOOKS, "verl.fake", functions)
    hooks.apply(module)
    assert ran == [(0, module), (1, module), (2, module)]
    assert contract.problems == []


def test_what_a_function_refuses_is_kept_for_runs_that_use_frpo(module, monkeypatch, capsys):
    monkeypatch.setitem(hooks.HOOKS, "verl.fake", (_raising,))
    hooks.apply(module)
    assert contract.problems == ["the loss is taken"]
    assert capsys.readouterr().err == "frpo-verl: the loss is taken\n"


def test_under_strict_the_import_itself_fails(module, monkeypatch):
    monkeypatch.setenv("FRPO_VERL_STRICT", "1")
    monkeypatch.setitem(hooks.HOOKS, "verl.fake", (_raising,))
    with pytest.raises(HostError, match="the loss is taken"):
        hooks.apply(module)


def test_a_module_that_does_not_fit_is_left_alone(module, monkeypatch):
    gone = contract.Symbol("verl.fake", "compute", (), "test")
    monkeypatch.setattr(contract, "CONTRACT", (gone,))
    ran = []
    monkeypatch.setitem(hooks.HOOKS, "verl.fake", (ran.append,))
    hooks.apply(module)
    assert ran == []
    assert "verl.fake.compute is gone" in contract.problems[0]


@pytest.mark.parametrize(
    ("verls", "estimator", "needed"), [(True, "grpo", True), (False, "frpo", True), (False, "grpo", False)]
)
def test_the_reference_is_loaded_where_verl_or_frpo_needs_it(verls, estimator, needed):
    config = SimpleNamespace(algorithm={"adv_estimator": estimator, "kl_ctrl": {"kl_coef": 0.01}})
    assert hooks._or_needed_by_us(lambda config: verls, config) is needed
