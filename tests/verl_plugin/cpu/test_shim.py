"""What a shim says when its host has changed."""

import importlib.metadata
from types import ModuleType

import pytest

from frpo_verl.preflight.errors import HostError
from frpo_verl.verl_plugin.cpu.shims.shim import Shim, apply

VERSION = importlib.metadata.version("wrapt")


def shim(**changes) -> Shim:
    def mark(module: ModuleType) -> None:
        module.shimmed = True

    base = Shim("a test", "fake", ("wrapt",), (VERSION,), "it would fail", lambda module: True, mark)
    return base._replace(**changes)


def test_on_its_own_version_it_is_applied_in_silence(capsys):
    module = ModuleType("fake")
    apply(shim(), module)
    assert module.shimmed
    assert capsys.readouterr().err == ""


def test_another_version_is_named_and_it_is_applied_all_the_same(capsys):
    module = ModuleType("fake")
    apply(shim(versions=("0.0.1",)), module)
    assert module.shimmed
    assert f"shim 'a test' is for wrapt 0.0.1; {VERSION} is installed" in capsys.readouterr().err


def test_a_host_that_no_longer_needs_it_is_left_alone(capsys):
    module = ModuleType("fake")
    apply(shim(is_needed=lambda module: False), module)
    assert not hasattr(module, "shimmed")
    assert f"wrapt {VERSION} no longer needs the shim 'a test'" in capsys.readouterr().err


def test_a_host_that_no_longer_allows_it_is_an_error_with_the_fix():
    def apply_to_what_is_gone(module: ModuleType) -> None:
        module.gone.attribute = 1

    with pytest.raises(HostError, match=r"shim 'a test' \(it would fail\) no longer fits .*gone.*; install wrapt"):
        apply(shim(apply=apply_to_what_is_gone), ModuleType("fake"))


def test_the_first_installed_host_counts(capsys):
    apply(shim(hosts=("a-package-that-is-not-there", "wrapt")), ModuleType("fake"))
    assert capsys.readouterr().err == ""


def test_without_any_host_the_fix_is_named():
    with pytest.raises(HostError, match="the CPU platform needs nothing-a or nothing-b, and none is installed"):
        apply(shim(hosts=("nothing-a", "nothing-b")), ModuleType("fake"))
