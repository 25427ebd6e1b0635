"""|λ(i,t)| against a prefix tree made of dictionaries, and against the authors' rule in own words."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tree_oracles import FIGURE, released_rule, set_sizes

from frpo_verl.advantage import count_process_sets, process_set_sizes, process_sets
from frpo_verl.checks import InvalidInput

pytestmark = pytest.mark.filterwarnings("error")


def batch(responses, starts=None, length=None):
    """Token ids, with noise where there is no token, and the mask of what is there; a row begins at its start."""
    starts = starts or [0] * len(responses)
    length = length or max(start + len(response) for start, response in zip(starts, responses, strict=True))
    ids, present = torch.randint(3, (len(responses), length)), torch.zeros(len(responses), length, dtype=torch.bool)
    for row, (start, response) in enumerate(zip(starts, responses, strict=True)):
        ids[row, start : start + len(response)] = torch.tensor(response, dtype=ids.dtype)
        present[row, start : start + len(response)] = True
    return ids, present


def counted(responses, groups=None, **layout) -> tuple[list[list[int]], list[int]]:
    """The counts of the tokens that are there, row by row, and the copies."""
    ids, present = batch(responses, **layout)
    given = ids, present, torch.tensor(groups or [0] * len(responses))
    sizes = process_set_sizes(*given)
    assert not sizes[~present].any()
    sets = count_process_sets(*given)
    assert sum(sizes[rows, columns].numel() for rows, columns, _ in sets.spans()) == (sizes > 1).sum()
    return [row[there].tolist() for row, there in zip(sizes, present, strict=True)], sets.copies.tolist()


@pytest.fixture(params=[(1, 2), (2, 3), (64, 4)], ids=lambda rounds: f"{rounds[0]} columns first")
def rounds(request, monkeypatch):
    """Short rounds, so that small examples go through several."""
    monkeypatch.setattr(process_sets, "FIRST_COLUMNS", request.param[0])
    monkeypatch.setattr(process_sets, "GROWTH", request.param[1])


def test_golden():
    # a and b open all of the first three, of which two go on with c; the fourth begins otherwise
    a, b, c, d, e = range(5)
    sizes, copies = counted([(a, b, c, d), (a, b, c), (a, b, e, d), (b, b, c, d)])
    assert sizes == [[3, 3, 2, 1], [3, 3, 2], [3, 3, 1, 1], [1, 1, 1, 1]]
    assert copies == [1, 1, 1, 1]


def test_the_papers_figure():
    assert counted(FIGURE)[0] == [[2, 1], [2, 1], [3, 1, 1], [3, 2, 1], [3, 2, 1], [1]]


def test_equal_responses_share_everything_and_keep_their_number():
    sizes, copies = counted([(1, 2), (1, 2), (1, 3), (1, 2)])
    assert sizes == [[4, 3], [4, 3], [4, 1], [4, 3]]
    assert copies == [3, 3, 1, 3]


def test_to_end_is_to_differ_from_what_goes_on():
    # The noise after the end is the token with which the others go on, in whatever order they stand.
    for order in itertools.permutations([(1, 1), (1, 1, 0, 1), (1, 1, 0, 2), (1, 1, 0)]):
        ids, present = batch(list(order))
        ids[~present] = 0
        sizes = process_set_sizes(ids, present, torch.zeros(4, dtype=torch.int64))
        expected = {(1, 1): [4, 4], (1, 1, 0, 1): [4, 4, 3, 1], (1, 1, 0, 2): [4, 4, 3, 1], (1, 1, 0): [4, 4, 3]}
        for row, response in enumerate(order):
            assert sizes[row, : len(response)].tolist() == expected[response]
        assert counted(list(order))[1] == [1] * 4


def test_an_end_token_is_a_token_like_any_other():
    end = 2
    assert counted([(1, end), (1, end), (1, 1, end)])[0] == [[3, 2], [3, 2], [3, 1, 1]]


def test_groups_are_counted_alone_wherever_their_rows_are():
    sizes, copies = counted([(1, 2), (1, 2), (1, 3), (1, 2), (1, 2)], groups=[5, -9, 5, 5, 7])
    assert sizes == [[3, 2], [1, 1], [3, 1], [3, 2], [1, 1]]
    assert copies == [2, 1, 1, 2, 1]


def test_responses_without_a_token_are_nowhere():
    sizes, copies = counted([(), (1, 2), (), (1,)], starts=[0, 0, 3, 2], length=4)
    assert sizes == [[], [2, 1], [], [2]]
    assert copies == [0, 1, 0, 1]
    assert not process_set_sizes(torch.zeros(3, 4).long(), torch.zeros(3, 4), torch.zeros(3).long()).any()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_a_batch_of_nothing(shape):
    given = torch.zeros(shape).long(), torch.zeros(shape), torch.zeros(shape[0]).long()
    assert process_set_sizes(*given).shape == shape
    assert count_process_sets(*given).copies.tolist() == [0] * shape[0]


responses = st.lists(st.lists(st.integers(0, 2), max_size=9).map(tuple), min_size=1, max_size=9)


@st.composite
def batches(draw):
    """Responses over three tokens, some of them repeated or cut, in up to three groups, padded on either side."""
    found = draw(responses)
    for row in draw(st.lists(st.integers(0, len(found) - 1), max_size=4)):
        found.append(found[row][: draw(st.integers(0, 9))])
    groups = draw(st.lists(st.integers(0, 2), min_size=len(found), max_size=len(found)))
    starts = draw(st.lists(st.integers(0, 3), min_size=len(found), max_size=len(found)))
    return found, groups, draw(st.sampled_from([None, starts]))


@pytest.mark.usefixtures("rounds")
@given(batches())
def test_equals_the_prefix_tree(case):
    found, groups, starts = case
    sizes, copies = counted(found, groups, starts=starts, length=12)
    assert sizes == set_sizes(found, groups)
    pairs = list(zip(groups, found, strict=True))
    assert copies == [pairs.count(pair) if pair[1] else 0 for pair in pairs]


@given(responses)
def test_equals_the_released_rule(found):
    assert counted(found, length=9)[0] == released_rule(found)


@given(batches(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(case, random):
    found, groups, _ = case
    order = list(range(len(found)))
    random.shuffle(order)
    sizes, copies = counted(found, groups, length=12)
    moved = counted([found[row] for row in order], [groups[row] for row in order], length=12)
    assert moved == ([sizes[row] for row in order], [copies[row] for row in order])


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("group_size", [6, 64])
def test_long_responses_that_part_late(group_size, dtype):
    # Token t of response i is 1 from the i-th tenth of 100 on: a caterpillar, every depth in another round.
    length = 100 * group_size
    ids = (torch.arange(length) >= 100 * torch.arange(group_size)[:, None]).to(dtype)
    sizes = process_set_sizes(ids, torch.ones(group_size, length), torch.zeros(group_size).long())
    place = torch.arange(length)
    shared_by = group_size - place // 100
    expected = torch.where(ids == 0, shared_by - 1, 1)
    assert torch.equal(sizes, expected.int())


@pytest.mark.usefixtures("rounds")
def test_many_groups():
    # Pairs share three tokens; in every second group there are two pairs. More ties than a byte can number.
    group = torch.arange(400).repeat_interleave(torch.tensor([2, 4]).repeat(200))
    pair = torch.arange(1200) // 2
    ids = torch.stack([torch.zeros(1200).long(), pair % 3, pair % 3, torch.arange(1200)], -1)
    expected = torch.tensor([[2, 2, 2, 1], [4, 2, 2, 1]])[group % 2]
    assert torch.equal(process_set_sizes(ids, torch.ones(1200, 4), group), expected.int())


def test_gaps_are_refused():
    present = torch.tensor([[1, 1, 0], [1, 0, 1]])
    with pytest.raises(InvalidInput, match="present of sample 1 has a gap: it must be one run of tokens, observations"):
        count_process_sets(torch.zeros(2, 3).long(), present, torch.zeros(2).long())
