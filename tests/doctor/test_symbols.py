"""verl's symbols against the table, as the doctor says it."""

import pytest

from frpo_verl.doctor import symbols
from frpo_verl.preflight import contract
from frpo_verl.preflight.contract import Symbol

pytest.importorskip("verl")


def test_what_fits_is_ok_and_what_does_not_is_named(monkeypatch):
    fits = contract.CONTRACT[0]
    gone = Symbol("verl.trainer.ppo.core_algos", "gone", (), "does a thing")
    nowhere = Symbol("verl.nowhere", "function", (), "does another")
    monkeypatch.setattr(contract, "CONTRACT", (fits, gone, nowhere))
    section = symbols.examine()
    assert section.rows == {
        f"{fits.module}.{fits.name}": "ok",
        "verl.trainer.ppo.core_algos.gone": "verl.trainer.ppo.core_algos.gone is gone",
        "verl.nowhere.function": "module cannot be imported",
    }
    unimportable, differs = section.problems
    assert unimportable.startswith(
        "verl.nowhere cannot be imported (ModuleNotFoundError: No module named 'verl.nowhere'"
    )
    assert differs.startswith("verl.trainer.ppo.core_algos.gone is gone in verl ")
    assert "where frpo-verl does a thing; install verl" in differs
