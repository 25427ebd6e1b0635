"""Tests the problems that reasoning-gym generates, and that its verifiers can score from the file."""

import json

import pytest
from problem_rows import asked, rows_of

from frpo_verl import data
from frpo_verl.data import gym_tasks
from frpo_verl.data.errors import DataError
from frpo_verl.data.problem import Problem
from frpo_verl.rewards import gym


@pytest.mark.parametrize("task", ["chain_sum", "boxnet", "gsm_symbolic"])
def test_a_row_is_scored_by_the_tasks_own_verifier(tmp_path, task):
    test, train = data.build(f"reasoning_gym:{task}", output=tmp_path, draw=data.Draw(30, held_out=0.4))
    assert (test.path.name, train.path.name) == (
        f"reasoning_gym_{task}_test.parquet",
        f"reasoning_gym_{task}_train.parquet",
    )
    score = gym.load().get_score_answer_fn(task)
    originals = gym.load().create_dataset(task, size=30, seed=0)
    for row in rows_of(test.path) + rows_of(train.path):
        info, original = row["extra_info"], originals[row["extra_info"]["index"]]
        entry = json.loads(info["entry"])
        assert (row["data_source"], info["task"]) == (f"reasoning_gym/{task}", task)
        assert (entry["question"], entry["answer"]) == (original["question"], original["answer"])
        assert score(entry["answer"], entry) == score(original["answer"], original)
        assert row["reward_model"]["ground_truth"] == (original["answer"] or "")
        assert row["prompt"][0]["content"].startswith(original["question"])


def test_the_parts_share_no_problem_and_no_problem_is_there_twice(tmp_path):
    test, train = data.build("reasoning_gym:letter_jumble", output=tmp_path, draw=data.Draw(120, held_out=0.25))
    problems = asked(test.path) + asked(train.path)
    assert len(problems) == len(set(problems))
    assert 15 <= test.rows <= 45


def test_a_problem_is_in_the_same_part_whatever_is_drawn(tmp_path):
    draws = data.Draw(60, held_out=0.3), data.Draw(90, held_out=0.3), data.Draw(60, seed=1000, held_out=0.3)
    train, test = [], []
    for number, draw in enumerate(draws):
        for built in data.build("reasoning_gym:chain_sum", output=tmp_path / str(number), draw=draw):
            (train if built.split == "train" else test).append(set(asked(built.path)))
    assert train[0] < train[1] and test[0] < test[1]
    assert train[2] - train[1] and not set.union(*train) & set.union(*test)


def test_an_answer_that_is_too_long_for_the_reward_is_left_out_and_counted(tmp_path, monkeypatch):
    lengths = [len(entry["answer"]) for entry in gym.load().create_dataset("letter_jumble", size=30, seed=0)]
    limit = sorted(lengths)[20]
    monkeypatch.setattr(gym_tasks, "LONGEST_OF_A_TASK", limit)
    built = data.build("reasoning_gym:letter_jumble", output=tmp_path, draw=data.Draw(30, held_out=0.4))
    kept = [row["reward_model"]["ground_truth"] for each in built for row in rows_of(each.path)]
    assert sorted(map(len, kept)) == sorted(length for length in lengths if length <= limit)
    dropped = sum(each.dropped.get(f"answer longer than {limit} characters", 0) for each in built)
    assert dropped == sum(length > limit for length in lengths) > 0


@pytest.mark.parametrize(("length", "reason"), [(20_000, None), (20_001, "answer longer than 20,000 characters")])
def test_the_longest_answer_is_that_of_the_reward(length, reason):
    assert gym_tasks.parts("reasoning_gym:chain_sum")[0].reason(Problem("What?", "1" * length)) == reason


@pytest.mark.parametrize(("answer", "reason"), [("", "right answer empty"), (" ", "right answer empty"), (None, None)])
def test_a_right_answer_that_no_answer_can_be_told_from_is_left_out(answer, reason):
    problem = Problem("What?", answer or "", "0", "polynomial_equations", json.dumps({"answer": answer}))
    assert gym_tasks.parts("reasoning_gym:polynomial_equations")[0].reason(problem) == reason


@pytest.mark.parametrize(
    ("name", "draw", "says"),
    [
        ("chain_sums", {}, "reasoning_gym:chain_sums: reasoning-gym has no such task; did you mean .*:chain_sum"),
        ("zzzzzz", {}, "reasoning_gym:zzzzzz: reasoning-gym has no such task; it has .*acre, advanced_geometry, "),
        (
            "composite",
            {},
            r"reasoning_gym:composite: reasoning-gym cannot draw from it as it is \(Must specify at least",
        ),
        (
            "arc_agi",
            {},
            "reasoning-gym's arc_agi, row [0-9]: its verifier needs Python objects that a parquet file cannot",
        ),
        (
            "puzzle24",
            {},
            r"reasoning_gym:puzzle24: its verifier pays for nonsense, since 1\*2\*3\*4 counts as the answer to every",
        ),
        (
            "game_of_life_halting",
            {},
            "game_of_life_halting: .*, since any text counts as the right answer",
        ),
        ("chain_sum", {"size": 0}, "--size 0 --held-out 0.1: the size must be 1 or more"),
        (
            "chain_sum",
            {"held_out": 1.0},
            "--size 10000 --held-out 1: the size must be 1 or more and the held-out share",
        ),
        (
            "chain_sum",
            {"size": 3, "held_out": 1e-9},
            "reasoning_gym_chain_sum_test: none of the 3 rows .* is left; raise --size, or",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named_with_the_fix(tmp_path, name, draw, says):
    with pytest.raises(DataError, match=says):
        data.build(f"reasoning_gym:{name}", output=tmp_path, draw=data.Draw(**draw))


def test_a_source_is_of_no_use(tmp_path):
    with pytest.raises(DataError, match="with --source .*: reasoning-gym generates it; leave --source out"):
        data.build("reasoning_gym:chain_sum", output=tmp_path, source=__file__)


def test_without_reasoning_gym_the_package_is_named(monkeypatch):
    monkeypatch.setattr(gym_tasks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="reasoning-gym is not installed; pip install reasoning-gym"):
        gym_tasks.find(gym_tasks.parts("reasoning_gym:chain_sum")[1], data.Draw())
