import pytest
import torch
from batches import jagged

from frpo_verl import rows
from frpo_verl.rows import over_rows, row_blocks

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]


@pytest.fixture
def _small_blocks(monkeypatch):
    monkeypatch.setattr(rows, "CPU_BLOCK", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize(
    ("shape", "expected"), [((10, 16), [4, 4, 2]), ((5, 100), [2, 2, 1]), ((0, 5), []), ((3, 0), [3])]
)
def test_blocks_cover_the_rows_once_and_hold_a_row_for_each_thread(shape, expected):
    blocks = list(row_blocks(torch.empty(shape)))
    assert [block.stop - block.start for block in blocks] == expected
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(shape[0]))


@pytest.mark.usefixtures("_small_blocks")
def test_every_row_meets_its_own_row_values():
    values, scale = torch.randn(33, 16), torch.randn(33)
    result = over_rows(lambda block, of_row: block.cumsum(-1) * of_row[:, None], values, scale)
    assert torch.equal(result, values.cumsum(-1) * scale[:, None])


@pytest.mark.usefixtures("_small_blocks")
def test_jagged_rows_meet_their_own_row_values_and_no_padding():
    lengths = torch.randint(0, 17, (40,)).tolist()
    values, scale = torch.randn(40, 16), torch.randn(40)
    seen = []

    def function(block, of_row):
        seen.append(block.numel())
        return block.cumsum(-1) * of_row[:, None]

    result = over_rows(function, jagged(values, lengths), scale)
    assert torch.equal(result.values(), jagged(values.cumsum(-1) * scale[:, None], lengths).values())
    # rows of similar length share a block: of 40 × 16 slots only the tokens and a little padding are touched
    assert sum(lengths) <= sum(seen) <= 1.35 * sum(lengths)
