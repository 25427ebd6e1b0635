"""Reading of dumps: no line is skipped in silence."""

import json
import os

import pytest
from eval.written import dump, line, samples
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.eval import dumps


def read(folder, lines, step=20, score_key="score", end="\n"):
    return dumps.read(dump(folder, step, lines, end), step, score_key, lambda count: None)


def scores(found):
    return [list(problem.scores) for problem in found.problems.values()]


def test_samples_by_problem_with_the_line_of_the_first(tmp_path):
    found, problems = read(tmp_path, samples({"1+1": ["2", "3"], "2+2": ["4", "4", r"\frac{8}{2}"]}))
    assert problems == [] and found.voted == "box"
    assert scores(found) == [[1.0, 0.0], [1.0, 1.0, 0.0]]
    first, second = found.problems.values()
    assert (first.place, second.place) == (f"{tmp_path / '20.jsonl'}, line 1", f"{tmp_path / '20.jsonl'}, line 3")
    assert first.said == ["2", "3"] and list(second.answers) == [0, 0, 1]


def test_the_same_text_with_another_answer_or_source_is_another_problem(tmp_path):
    found, _ = read(tmp_path, [line(), line(gts="3"), line(data_source="s"), line()])
    assert scores(found) == [[1.0, 1.0], [1.0], [1.0]]


def test_the_field_is_the_answer_where_there_is_one(tmp_path):
    found, _ = read(tmp_path, [line(pred="3"), line(pred=None), line(pred=3), line(said="2", pred=None), line()])
    (problem,) = found.problems.values()
    assert found.voted == "field" and problem.said == ["3", "2", None] and list(problem.answers) == [0, 1, 0, 2, 1]
    assert read(tmp_path, [line(pred=None)])[0].voted == "box"


def test_without_field_and_box_there_is_no_vote(tmp_path):
    found, problems = read(tmp_path, [line(said="2"), line(said=r"\boxed{}")])
    assert problems == [] and found.voted is None


def test_a_rollout_with_several_outputs_is_one_sample_and_its_input_is_the_problem(tmp_path):
    found, _ = read(tmp_path, [line(uid="u_0_0"), line(asked="2+2", uid="u_0_1"), line(uid="u_1_0"), line(uid="x")])
    assert scores(found) == [[1.0, 1.0, 1.0]]


def test_another_score_may_be_read(tmp_path):
    found, _ = read(tmp_path, [line(score=-1.0, acc=True), line(acc=False)], score_key="acc")
    assert scores(found) == [[1.0, 0.0]]


@pytest.mark.parametrize(
    "bad, said",
    [
        ("{", "line 2, column 1: it is not a JSON object"),
        ("[1]", "line 2, column 1: it is not a JSON object"),
        ("", "line 2, column 1: it is not a JSON object"),
        ('{"step": 1, "data": {}}', "line 2, column input: there is none, only step, data"),
        (line(score=float("nan")), "line 2, column score: nan is not a finite number"),
        (line(score=float("inf")), "line 2, column score: inf is not a finite number"),
        (line(score="good"), "line 2, column score: 'good' is not a finite number"),
        ({**line(), "score": None}, "line 2, column score: None is not a finite number"),
        (line(step=19), "line 2, column step: it is 19 in a file of step 20"),
    ],
)
def test_a_bad_line_is_named_and_the_file_is_not_used(tmp_path, bad, said):
    found, (problem,) = read(tmp_path, [line(), bad, line()])
    assert found is None and problem.startswith(f"{tmp_path / '20.jsonl'}, {said}; ")


def test_all_kinds_are_said_at_once_each_with_a_count(tmp_path):
    nan = line(score=float("nan"))
    _, problems = read(tmp_path, [nan, "{", nan, nan, line()])
    assert [problem.split(": ")[0].rpartition("/")[2] for problem in problems] == [
        "20.jsonl, line 1 (and 2 more), column score",
        "20.jsonl, line 2, column 1",
    ]


def test_a_cut_line_is_named_even_where_it_is_whole_json(tmp_path):
    _, (problem,) = read(tmp_path, [line(), line()], end="")
    assert "line 2, column its end: it is cut off" in problem


def test_an_empty_file_is_a_sentence(tmp_path):
    assert read(tmp_path, [])[1] == [f"{tmp_path / '20.jsonl'}: it holds no line; wait until verl has written it"]


def test_a_file_that_changes_while_it_is_read_is_not_used(tmp_path):
    file = dump(tmp_path, 20, [line()])

    def more(count):
        with file.open("a") as opened:
            opened.write("")
        os.utime(file, ns=(1, 1))

    found, (problem,) = dumps.read(file, 20, "score", more)
    assert found is None and "it was written to while it was read" in problem


def test_the_bytes_of_every_line_are_told(tmp_path):
    told = []
    file = dump(tmp_path, 20, [line(), line(said="é\u2028\x85")])
    dumps.read(file, 20, "score", told.append)
    assert sum(told) == file.stat().st_size and len(told) == 2


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_there_is_an_answer(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "20.jsonl"
    file.write_bytes(json.dumps(line()).encode() + b"\n" + content)
    found, problems = dumps.read(file, 20, "score", lambda count: None)
    assert (found is None) == bool(problems) == bool(content)
