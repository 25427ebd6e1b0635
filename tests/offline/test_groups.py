"""Duplicates and signal, by hand and from their definitions."""

from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.offline.groups import Counts, Group, Response, contradicted, distinct, has_signal, kept

SCORE = st.sampled_from([-1.0, 0.0, 0.5, 1.0])
RESPONSES = st.lists(
    st.tuples(st.text("ab", max_size=2), SCORE, st.none() | st.lists(st.integers(0, 1), max_size=2)), max_size=8
).map(lambda found: [Response(*each) for each in found])


def rewards(*scores):
    return [Response(str(number), score) for number, score in enumerate(scores)]


def run(groups, duplicates="drop", no_signal="keep"):
    counts = Counts()
    return list(kept(groups, duplicates, no_signal, counts)), {name: count for name, count in counts.items() if count}


def test_the_same_text_of_other_tokens_is_another_response():
    first, other, cut = Response("ab", 1.0, [1, 2]), Response("ab", 1.0, [3]), Response("ab", 0.0, [1, 2, 0])
    assert distinct([first, other, cut, first]) == [first, other, cut]
    assert distinct([Response("ab", 1.0), Response("ab", 0.0)]) == [Response("ab", 1.0)]


@given(RESPONSES)
def test_of_duplicates_the_first_is_kept_in_its_place(responses):
    found = distinct(responses)
    earlier = [[other.key() for other in responses[:number]] for number in range(len(responses))]
    assert found == [each for each, before in zip(responses, earlier, strict=True) if each.key() not in before]
    assert distinct(found) == found
    again = [each.score != next(other.score for other in responses if other.key() == each.key()) for each in responses]
    assert contradicted(responses) == sum(again)


@given(RESPONSES.filter(bool))
def test_signal_is_a_pair_of_a_better_and_a_worse_response(responses):
    assert has_signal(responses) == any(a.score > b.score for a in responses for b in responses)


def test_counts_of_four_prompts_by_hand():
    groups = [
        Group(0, [Response("a", 1.0), Response("a", 0.0), Response("b", 1.0)]),
        Group(1, rewards(1.0, 0.0)),
        Group(2, rewards(0.2, 0.5)),
        Group(3, rewards(0.5)),
    ]
    found, counts = run(groups)
    assert [group.row for group in found] == [0, 1, 2, 3]
    assert found[0].responses == [Response("a", 1.0), Response("b", 1.0)]
    assert counts == {
        "duplicates": 1,
        "duplicates_with_another_score": 1,
        "all_right": 1,
        "all_wrong": 2,
        "no_signal": 2,
        "prompts": 4,
        "responses": 7,
    }


def test_prompts_of_one_score_are_dropped_and_counted():
    found, counts = run([Group(0, rewards(1.0, 1.0)), Group(1, rewards(0.1, 0.2))], no_signal="drop")
    # all wrong, yet one is better than the other
    assert [group.row for group in found] == [1]
    assert counts == {
        "all_right": 1,
        "all_wrong": 1,
        "no_signal": 1,
        "dropped_prompts": 1,
        "prompts": 1,
        "responses": 2,
    }


def test_signal_is_that_of_what_is_kept():
    group = Group(0, [Response("a", 1.0), Response("a", 0.0)])
    assert run([group], no_signal="drop")[0] == []
    kept_all, counts = run([group], "keep", "drop")
    assert kept_all == [group] and counts["duplicates"] == 1
