import pytest
import torch

from frpo_verl import rows
from frpo_verl.rows import over_rows, row_blocks

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def _small_blocks(monkeypatch):
    monkeypatch.setattr(rows, "CPU_BLOCK", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize(
    ("shape", "expected"), [((10, 16), [4, 4, 2]), ((5, 100), [2, 2, 1]), ((0, 5), []), ((3, 0), [3])]
)
def test_blocks_cover_the_rows_once_and_hold_a_row_for_each_thread(shape, expected):
    blocks = list(row_blocks(torch.empty(shape, device="cpu")))
    assert [block.stop - block.start for block in blocks] == expected
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(shape[0]))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # 2**20 slots at least, an eighth of the batch, 2**24 slots at most
        ((64, 512), [64]),
        ((1280, 8192), [160] * 8),
        ((1280, 1000), [1048, 232]),
        ((1280, 131072), [128] * 10),
        ((2, 2**25), [1, 1]),
    ],
)
def test_on_an_accelerator_a_block_is_a_share_of_the_batch(shape, expected):
    assert [block.stop - block.start for block in row_blocks(torch.empty(shape, device="meta"))] == expected


@pytest.mark.usefixtures("_small_blocks")
def test_every_row_meets_its_own_row_values():
    values, scale = torch.randn(33, 16), torch.randn(33)
    result = over_rows(lambda block, of_row: block.cumsum(-1) * of_row[:, None], values, scale)
    assert torch.equal(result, values.cumsum(-1) * scale[:, None])
