"""Responses token by token: read as the plugin writes them, what is not one of them, and how they are coloured."""

import json

import pytest

from frpo_verl.evaluation.tokens import Response, Token, coloured, read_tokens

ROW = {
    "step": 3,
    "prompt": "1+1",
    "score": 1.0,
    "beta": 0.5,
    "length": 3,
    "tokens": ["a", "\n", ""],
    "outcome": [0.5, 0.5, None],
    "advantage": [0.25, 1.0, None],
}
RESPONSE = Response(**ROW)


def write(folder, step, *rows):
    path = folder / "rollouts" / "tokens" / f"{step}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def test_the_last_step_is_read(tmp_path):
    for step in (3, 10, 9):
        write(tmp_path, step, {**ROW, "step": step}, ROW)
    notes = []
    assert read_tokens(tmp_path, notes) == [RESPONSE._replace(step=10), RESPONSE]
    assert notes == [] and read_tokens(tmp_path / "rollouts", notes) == [] == read_tokens(tmp_path / "gone", notes)


@pytest.mark.parametrize(
    "row",
    [
        '{"step": 3, "tok',
        "[1]",
        {**ROW, "tokens": ["a", "b"]},
        {**ROW, "outcome": "abc"},
        {**ROW, "advantage": [0.25, float("nan"), None]},
        {**ROW, "tokens": ["a", "b", 3]},
        {name: value for name, value in ROW.items() if name != "beta"},
    ],
)
def test_a_line_that_is_no_response_is_named_and_an_earlier_step_stands_in(tmp_path, row):
    write(tmp_path, 2, {**ROW, "step": 2})
    write(tmp_path, 3, row)
    notes = []
    assert [response.step for response in read_tokens(tmp_path, notes)] == [2]
    (note,) = notes
    assert note.endswith("tokens/3.jsonl, line 1: not a response token by token; left out")
    write(tmp_path, 3, ROW, row)
    assert read_tokens(tmp_path, []) == [RESPONSE]


def test_the_future_part_is_what_the_advantage_is_more_than_its_outcome():
    assert RESPONSE.future == [-0.25, 0.5, None]


def test_colours_are_of_the_greatest_value_and_what_is_not_seen_is_shown():
    assert coloured(RESPONSE, RESPONSE.future, 9) == (
        [
            Token("a", "down", 50, "-0.25"),
            Token("⏎\n", "up", 100, "+0.5"),
            Token("∅", "none", 0, "not sampled"),
        ],
        0.5,
    )
    assert coloured(RESPONSE, [-1.0, 0.5, None], 9)[1] == 1.0
    assert coloured(RESPONSE, [0.0, 0.0, None], 9) == (
        [Token("a", "zero", 0, "+0"), Token("⏎\n", "zero", 0, "+0"), Token("∅", "none", 0, "not sampled")],
        0.0,
    )


def test_of_a_long_response_the_first_tokens_are_shown():
    long = RESPONSE._replace(tokens=["x"] * 900, outcome=[0.0] * 900)
    found, greatest = coloured(long, [0.25] * 50 + [9.0] * 850, 50)
    assert (len(found), greatest, found[0].strength) == (50, 0.25, 100)
