"""Problems of a dump: samples, where the first stands, answers."""

import json

from eval.written import dump, line, samples
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.eval import dumps


def read(folder, lines):
    return dumps.read(dump(folder, 20, lines), 20, "score", lambda count: None)


def test_samples_by_problem_with_the_line_of_the_first(tmp_path):
    found, problems = read(tmp_path, samples({"1+1": ["2", "3"], "2+2": ["4", "4", r"\frac{8}{2}"]}))
    assert problems == [] and found.voted == "box"
    first, second = found.problems.values()
    assert [list(problem.scores) for problem in (first, second)] == [[1.0, 0.0], [1.0, 1.0, 0.0]]
    assert (first.place, second.place) == (f"{tmp_path / '20.jsonl'}, line 1", f"{tmp_path / '20.jsonl'}, line 3")
    assert first.said == ["2", "3"] and list(second.answers) == [0, 0, 1]


def test_the_field_is_the_answer_where_there_is_one(tmp_path):
    found, _ = read(tmp_path, [line(pred="3"), line(pred=None), line(pred=3), line(said="2", pred=None), line()])
    (problem,) = found.problems.values()
    assert found.voted == "field" and problem.said == ["3", "2", None] and list(problem.answers) == [0, 1, 0, 2, 1]
    assert read(tmp_path, [line(pred=None)])[0].voted == "box"


def test_without_field_and_box_there_is_no_vote(tmp_path):
    found, problems = read(tmp_path, [line(said="2"), line(said=r"\boxed{}")])
    assert problems == [] and found.voted is None


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_there_is_an_answer(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "20.jsonl"
    file.write_bytes(json.dumps(line()).encode() + b"\n" + content)
    found, problems = dumps.read(file, 20, "score", lambda count: None)
    assert (found is None) == bool(problems) == bool(content)
