import asyncio
import inspect
import pickle
import sys
from types import ModuleType

import pytest

from frpo_verl.verl_plugin.patching import wrap


def _module(name: str, monkeypatch, **attributes) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def _host(x: int) -> int:
    """Doubles."""
    return 2 * x


def _plus_one(host, x):
    return host(x) + 1


def test_the_wrapper_runs_around_the_host(monkeypatch):
    module = _module("verl.fake", monkeypatch, double=_host)
    wrap(module, "double", _plus_one)
    assert module.double(5) == 11
    assert module.double.__doc__ == "Doubles."


def test_wrapping_twice_wraps_once(monkeypatch):
    module = _module("verl.fake", monkeypatch, double=_host)
    wrap(module, "double", _plus_one)
    wrap(module, "double", _plus_one)
    assert module.double(5) == 11


def test_copies_bound_earlier_in_verl_are_rebound_and_others_are_not(monkeypatch):
    module = _module("verl.fake", monkeypatch, double=_host)
    early = _module("verl.early", monkeypatch, double=_host)
    stranger = _module("stranger", monkeypatch, double=_host)
    wrap(module, "double", _plus_one)
    assert early.double(5) == 11
    assert stranger.double(5) == 10


def test_methods_are_wrapped_with_self_after_the_host():
    class Trainer:
        factor = 3

        def scale(self, x):
            return self.factor * x

    def negated(host, trainer, x):
        return -host(trainer, x)

    wrap(Trainer, "scale", negated)
    assert Trainer().scale(2) == -6


def test_a_missing_name_is_an_error(monkeypatch):
    with pytest.raises(AttributeError, match="double"):
        wrap(_module("verl.fake", monkeypatch), "double", _plus_one)


def test_ray_can_send_a_wrapped_function_by_reference():
    pytest.importorskip("verl")
    cloudpickle = pytest.importorskip("cloudpickle")
    from verl.trainer.ppo.utils import need_reference_policy

    sent = cloudpickle.dumps(need_reference_policy)
    assert len(sent) < 200
    assert pickle.loads(sent) is need_reference_policy


def test_a_coroutine_function_stays_one_for_ray():
    module = ModuleType("host")

    async def load(value):
        return value

    module.load = load

    async def twice(host, value):
        return 2 * await host(value)

    wrap(module, "load", twice)
    assert inspect.iscoroutinefunction(module.load)
    assert asyncio.run(module.load(3)) == 6
