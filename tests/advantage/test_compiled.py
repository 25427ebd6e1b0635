import sys

import pytest
import torch

from frpo_verl.advantage import compiled, regularise_batch


@pytest.fixture
def _numba_asked_for_anew():
    compiled._numba.cache_clear()
    yield
    compiled._numba.cache_clear()


@pytest.mark.usefixtures("_numba_asked_for_anew")
def test_without_numba_torch_computes(monkeypatch):
    delta, mask = torch.tensor([[1.0, 2.0]], device="cpu"), torch.ones(1, 2, dtype=torch.bool, device="cpu")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not compiled.can_take(delta)
    done = regularise_batch(torch.zeros(1, device="cpu"), delta, torch.zeros_like(delta), mask, 1.0)
    assert done.advantages.tolist() == [[-3.0, -2.0]]


@pytest.mark.usefixtures("_numba_asked_for_anew")
def test_a_numba_that_cannot_be_imported_is_said_once_and_torch_computes(monkeypatch, tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.2 or less')")
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(
        UserWarning, match="numba is installed but cannot be imported, .*: Numba needs NumPy 2.2"
    ) as said:
        assert not compiled.can_take(torch.zeros(1, device="cpu"))
        assert not compiled.can_take(torch.zeros(1, device="cpu"))
    assert len(said) == 1


@pytest.mark.parametrize("device", ["meta"])
def test_accelerators_are_left_to_torch(device):
    assert not compiled.can_take(torch.zeros(1, device=device))
