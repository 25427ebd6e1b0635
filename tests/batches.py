"""Random batches for hypothesis, and the two ways in which a batch can be computed."""

import pytest
import torch
from hypothesis import strategies as st

from frpo_verl.advantage import compiled


@st.composite
def log_ratios_and_masks(draw, largest: float = 20.0):
    """Up to 4 rows of up to 12 tokens, float64, any mask: holes, empty rows, padding on both sides."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    number, flag = st.floats(-largest, largest, allow_nan=False, width=64), st.booleans()
    delta = draw(st.lists(st.lists(number, min_size=length, max_size=length), min_size=rows, max_size=rows))
    mask = draw(st.lists(st.lists(flag, min_size=length, max_size=length), min_size=rows, max_size=rows))
    return torch.tensor(delta, dtype=torch.float64), torch.tensor(mask)


@pytest.fixture(params=["fused", "as defined"])
def way(request, monkeypatch):
    """Once in the fused pass, once in the torch code that accelerators run."""
    if request.param == "fused":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(compiled, "can_take", lambda tensor: False)
    return request.param
