"""Tests what steps are drawn from: advantages, pairs, rows."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.trainers import offline_data
from frpo_verl.trainers.graded import Graded
from frpo_verl.trainers.ragged import Ragged

GROUPS = st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=6), min_size=1, max_size=5)


def graded(*groups):
    """One prompt for each list of scores; prompt i is [100 + i] * (i + 1), response j of all is [j] * (j + 1)."""
    scores = np.array([score for group in groups for score in group])
    prompts = Ragged.of_rows([[100 + i] * (i + 1) for i in range(len(groups))])
    responses = Ragged.of_rows([[j] * (j + 1) for j in range(len(scores))])
    return Graded(prompts, responses, scores, np.cumsum([0, *map(len, groups)]))


def test_signed_by_a_threshold_that_is_not_enough_itself():
    prompt_of = np.array([0, 0, 1])
    assert offline_data.signed(np.array([0.6, 0.5, -3.0]), prompt_of, 0.5).tolist() == [1.0, -1.0, -1.0]


def test_standardised_by_hand():
    # group 0: mean 1/4, std √3/4; group 1: mean 2, std 1
    scores, prompt_of = np.array([1.0, 0.0, 0.0, 0.0, 3.0, 1.0]), np.array([0, 0, 0, 0, 1, 1])
    expected = [3 / 3**0.5, *[-1 / 3**0.5] * 3, 1.0, -1.0]
    assert offline_data.standardised(scores, prompt_of, 0.5) == pytest.approx(expected, abs=1e-12)


def test_a_group_of_equal_scores_has_no_advantage_even_where_its_mean_is_rounded():
    scores = np.full(10, 0.1)
    assert scores.mean() - 0.1 != 0 or np.bincount(np.zeros(10, int), scores)[0] / 10 != 0.1
    assert offline_data.standardised(scores, np.zeros(10, int), 0.5).tolist() == [0.0] * 10


@given(GROUPS)
def test_standardised_has_mean_zero_and_deviation_one_in_every_group_with_two_scores(groups):
    data = graded(*groups)
    found = offline_data.standardised(data.scores, data.prompt_of(), 0.5)
    for start, stop in itertools.pairwise(data.first):
        of_group = found[start:stop]
        assert of_group.mean() == pytest.approx(0, abs=1e-12)
        flat = len(set(data.scores[start:stop])) == 1
        assert of_group.std() == pytest.approx(0 if flat else 1, abs=1e-12)


@given(GROUPS)
def test_all_pairs_are_those_of_the_definition(groups):
    data = graded(*groups)
    expected = {
        (i, j)
        for start, stop in itertools.pairwise(data.first.tolist())
        for i in range(start, stop)
        for j in range(start, stop)
        if data.scores[i] > data.scores[j]
    }
    found = offline_data.pairs(data, None, 0).tolist()
    assert len(found) == len(expected) and set(map(tuple, found)) == expected


@given(GROUPS, st.integers(1, 4), st.integers(0, 3))
def test_at_most_so_many_pairs_of_each_prompt_all_different(groups, most, seed):
    data = graded(*groups)
    every, found = offline_data.pairs(data, None, 0), offline_data.pairs(data, most, seed)
    prompt_of = data.prompt_of()
    counted = np.bincount(prompt_of[every[:, 0]], minlength=len(groups))
    assert np.bincount(prompt_of[found[:, 0]], minlength=len(groups)).tolist() == np.minimum(counted, most).tolist()
    assert set(map(tuple, found.tolist())) <= set(map(tuple, every.tolist()))
    assert len(set(map(tuple, found.tolist()))) == len(found)


def test_the_draw_of_a_prompt_depends_on_the_seed_and_on_no_other_prompt():
    group = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    alone, followed = graded(group), graded(group, group)
    drawn = [offline_data.pairs(alone, 1, seed).tolist() for seed in range(20)]
    assert [offline_data.pairs(followed, 1, seed)[:1].tolist() for seed in range(20)] == drawn
    assert len(set(map(str, drawn))) > 4
    of_second = [(offline_data.pairs(followed, 1, seed)[1:] - 6).tolist() for seed in range(20)]
    assert of_second != drawn and len(set(map(str, of_second))) > 4
    assert offline_data.pairs(alone, 1, 7).tolist() == drawn[7]


def test_a_row_is_prompt_then_response_and_only_the_response_counts():
    (row,) = offline_data.Responses(graded([1.0], [0.0, 1.0]), np.array([1.0, -1.0, 0.5]))[2]
    assert row["input_ids"].tolist() == [101, 101, 2, 2, 2]
    assert row["loss_mask"].tolist() == [0, 0, 1, 1, 1]
    assert row["position_ids"].tolist() == [0, 1, 2, 3, 4]
    assert row["advantages"].item() == 0.5
    assert {row[name].dtype for name in ("input_ids", "loss_mask", "position_ids")} == {torch.int64}


def test_responses_without_an_advantage_are_left_out():
    data = offline_data.Responses(graded([1.0, 0.0], [1.0]), np.array([0.0, 2.0, 0.0]))
    assert len(data) == 1
    assert data[0][0]["input_ids"].tolist() == [100, 1, 1]


def test_a_pair_is_the_better_response_then_the_worse_to_the_same_prompt():
    data = graded([1.0], [0.0, 1.0])
    pairs = offline_data.Pairs(data, offline_data.pairs(data, None, 0))
    assert len(pairs) == 1
    better, worse = pairs[0]
    assert (better["input_ids"].tolist(), better["advantages"].item()) == ([101, 101, 2, 2, 2], 1.0)
    assert (worse["input_ids"].tolist(), worse["advantages"].item()) == ([101, 101, 1, 1], -1.0)
