"""The hosts' symbols against the table, as the doctor says it."""

import pytest

from frpo_verl.doctor import symbols
from frpo_verl.preflight import contract
from frpo_verl.preflight.contract import Symbol

pytest.importorskip("verl")


def test_what_fits_is_counted_and_what_does_not_is_named(monkeypatch):
    gone = Symbol("verl.trainer.ppo.core_algos", "gone", (), "does a thing")
    nowhere = Symbol("verl.nowhere", "function", (), "does another")
    monkeypatch.setattr(contract, "CONTRACT", (contract.CONTRACT[0], gone, nowhere))
    section = symbols.examine()
    assert section.rows == {
        "as expected": "1 of 3 symbols",
        "verl.trainer.ppo.core_algos.gone": "verl.trainer.ppo.core_algos.gone is gone",
        "verl.nowhere.function": "its module cannot be imported",
    }
    unimportable, differs = section.problems
    assert unimportable.startswith(
        "verl.nowhere cannot be imported (ModuleNotFoundError: No module named 'verl.nowhere'"
    )
    assert differs.startswith("verl.trainer.ppo.core_algos.gone is gone (what it is for: does a thing); install verl ")
