"""Tests how a row of each source becomes a problem."""

import pytest

from frpo_verl.data import catalogue, problem
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem

DAPO = catalogue.parts("dapo_math_17k")[0].columns
# The wrapping that every row of BytedTsinghua-SIA/DAPO-Math-17k has.
WRAPPED = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\nFind $x$.\n\nwith $x > 1$\n\nRemember to "
    'put your answer on its own line after "Answer:".'
)


def read(name, row):
    return problem.read(row, catalogue.parts(name)[0].columns, "file, row 7")


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("math500", {"problem": " x? ", "answer": "$1$", "unique_id": "a/1"}, Problem("x?", "1", "a/1")),
        ("aime24", {"ID": "2024-I-1", "Problem": "x?", "Answer": "025"}, Problem("x?", "25", "2024-I-1")),
        ("aime24", {"id": 60, "problem": "x?", "solution": "so \\boxed{025}"}, Problem("x?", "25", "60")),
        ("amc23", {"id": 0, "question": "x?", "answer": "27.0"}, Problem("x?", "27.0", "0")),
        ("minerva_math", {"question": "x?", "answer": "1e-3"}, Problem("x?", "1e-3")),
        ("gsm8k_test", {"question": "x?", "answer": "1+1=2\n#### 2"}, Problem("x?", "2")),
        (
            "olympiad_bench",
            {"id": 1606, "question": "x?", "context": None, "final_answer": ["$1$", "$2$"]},
            Problem("x?", "1, 2", "1606"),
        ),
        (
            "olympiad_bench",
            {"question": "x?", "context": "If $x$,", "final_answer": ["2"]},
            Problem("If $x$,\nx?", "2"),
        ),
        (
            "dapo_math_17k",
            {
                "prompt": [{"role": "user", "content": WRAPPED}],
                "reward_model": {"ground_truth": "34", "style": "rule"},
                "extra_info": {"index": "9a9b"},
            },
            Problem("Find $x$.\n\nwith $x > 1$", "34", "9a9b"),
        ),
        ("dapo_math_17k", {"prompt": "Find $x$.", "solution": "34"}, Problem("Find $x$.", "34")),
    ],
)
def test_a_row_of_each_source(name, row, expected):
    assert read(name, row) == expected


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"text": "x", "answer": "1"},
            "file, row 7: there is no column problem or question with the problem; its columns are text, answer; "
            "rename the right one to problem",
        ),
        (
            {"problem": "x", "target": 1},
            "file, row 7: there is no column answer with the answer; its columns are problem, target; rename the right "
            "one to answer",
        ),
        ({"problem": "x", "answer": " "}, "file, row 7: the answer is empty; fill it in, or remove the row"),
        ({"problem": "x", "answer": None}, "file, row 7: the answer is empty; fill it in, or remove the row"),
        ({"problem": None, "answer": 1}, "file, row 7: the problem is empty; fill it in, or remove the row"),
        (
            {"problem": "x", "answer": {"value": "3"}},
            "file, row 7: the answer is {'value': '3'}, not a text or a number; write it as one",
        ),
        (
            {"problem": "x", "answer": ["3", {"value": "4"}]},
            "file, row 7: the answer is ['3', {'value': '4'}], not a text or a number; write it as one",
        ),
        (
            {"problem": "x", "answer": b"3"},
            "file, row 7: the answer is b'3', not a text or a number; write it as one",
        ),
        (
            {"problem": {"text": "x"}, "answer": "3"},
            "file, row 7: the problem is {'text': 'x'}, not a text or a number; write it as one",
        ),
        (
            {"problem": "\ud800", "answer": 1},
            "file, row 7: the problem has half a character (a lone surrogate); correct it",
        ),
    ],
)
def test_a_row_that_is_no_problem_is_named_with_the_fix(row, says):
    with pytest.raises(DataError) as error:
        read("math500", row)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        ("Find $n$.", "34", None),
        ("Find $n$.", "-1", None),
        ("Find $n$.", "3.5", "answer not a whole number"),
        ("Find $n$.", "\\frac{1}{2}", "answer not a whole number"),
        ("求 $n$ 的值", "34", "not English"),
    ],
)
def test_the_filter_of_dapo_keeps_english_problems_with_whole_numbers(text, answer, reason):
    assert catalogue.dropped_by_filter(Problem(text, answer)) == reason


def test_a_name_that_is_not_known_is_told_the_nearest():
    with pytest.raises(DataError, match="^math-500: there is no such set of problems; did you mean math500?"):
        catalogue.parts("math-500")
    with pytest.raises(DataError, match="^zzzzzz: there is no such set of problems; choose one of .*_gym:TASK"):
        catalogue.parts("zzzzzz")
