"""Problems: what is kept of one, and which answers are the same."""

import json

from frpo_verl.eval.problem import Problem, Samples, of_source
from frpo_verl.evaluation.dumps import ALL, key_of


def problem(*samples, source=ALL):
    made = Problem("f, line 1", source)
    for score, answer in samples:
        made.add(score, answer)
    return made


def test_equal_answers_are_one_and_none_is_an_answer_too():
    made = problem((1.0, "2"), (0.0, None), (1.0, "2"), (0.0, "3"), (0.0, None))
    assert list(made.answers) == [0, 1, 0, 2, 1]
    assert list(made.scores) == [1.0, 0.0, 1.0, 0.0, 0.0]


def test_answers_that_are_the_same_are_made_one_and_only_those_of_one_score_are_asked_about():
    asked = []

    def same(one, other):
        asked.append((one, other))
        return float(one) == float(other)

    made = problem((1.0, "2"), (0.0, "3"), (1.0, "2.0"), (0.0, None), (0.0, "4"), (0.0, "3.0"), (1.0, "2"))
    made.merge(same)
    assert list(made.answers) == [0, 1, 0, 3, 4, 1, 0]
    assert asked == [("2", "2.0"), ("3", "4"), ("3", "3.0")]


def test_the_state_is_json_and_gives_the_problem_back():
    made = problem((1.0, "2"), (0.5, None), source="s")
    made.log_prob, made.log_ratio, made.tokens = -3.5, 0.25, 7
    again = Problem.of_state(json.loads(json.dumps(made.state())))
    assert again.state() == made.state() and again.answers == made.answers and again.tokens == 7


def test_a_key_is_the_question_the_answer_and_the_source():
    keys = {key_of("a", "1", "s"), key_of("b", "1", "s"), key_of("a", "2", "s"), key_of("a", "1", "t")}
    assert len(keys) == 4 and key_of("a", "1", "s") in keys
    assert key_of("\ud800", None, "s")  # half of a character, which verl dumps


def test_each_data_source_is_apart_in_the_order_of_the_file():
    problems = {"x": problem(source="b"), "y": problem(source="a"), "z": problem(source="b")}
    found = list(of_source(Samples(problems, None)))
    assert [(source, list(each)) for source, each in found] == [("b", ["x", "z"]), ("a", ["y"])]
