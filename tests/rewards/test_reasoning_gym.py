import json

import pytest

from frpo_verl.rewards import gym
from frpo_verl.rewards.processes import pool
from frpo_verl.rewards.reasoning_gym import compute_score

SUM = {"question": "State the final answer: 4 + 3 =", "answer": "7", "metadata": {}}


def score(response, task="chain_sum", entry=SUM):
    return compute_score(f"reasoning_gym/{task}", response, "", {"task": task, "entry": json.dumps(entry)})


def test_the_last_box_is_the_answer():
    assert score(r"\boxed{6}, no: \boxed{7}")["score"] == 1.0
    assert score(r"\boxed{7}, no: \boxed{6}")["score"] == 0.0
    assert score(r"\boxed{ 7 }") == {"score": 1.0, "acc": 1.0, "format": 1.0, "timed_out": 0.0}


@pytest.mark.parametrize("response", ["7", "4 + 3 = 7", r"\boxed{7", ""])
def test_without_a_box_there_is_no_answer(response):
    assert score(response) == {"score": 0.0, "acc": 0.0, "format": 0.0, "timed_out": 0.0}


def test_partial_credit_is_none():
    # reasoning-gym's own verifier gives this a small positive score.
    assert gym.load().get_score_answer_fn("chain_sum")("70", SUM) > 0
    assert score(r"\boxed{70}")["score"] == 0.0


def test_a_task_with_many_right_answers_is_verified_not_compared():
    entry = {
        "question": "Using 2, 3 and 4, make 14.",
        "answer": "2 + 3*4",
        "metadata": {"numbers": [2, 3, 4], "target": 14},
    }
    assert score(r"\boxed{4*3 + 2}", "countdown", entry)["score"] == 1.0
    assert score(r"\boxed{4*3 - 2}", "countdown", entry)["score"] == 0.0


def test_an_answer_may_be_long():
    listed = " ".join(map(str, range(1000)))
    entry = {"question": "", "answer": listed, "metadata": {}}
    assert score(rf"\boxed{{{listed}}}", "chain_sum", entry)["score"] == 1.0


def test_what_an_answer_prints_is_no_verdict():
    entry = {"question": "", "answer": "(2 + 5)*2", "metadata": {"numbers": [2, 3, 4], "target": 14}}
    answers = ["print('yes')", "4*3 + 2", "4*3 - 2", "2 + 3*4"]
    paid = [score(rf"\boxed{{{answer}}}", "countdown", entry)["score"] for answer in answers]
    assert paid == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("missing", ["task", "entry"])
def test_a_row_of_another_source_is_said_in_one_sentence(missing):
    row = {"task": "chain_sum", "entry": "{}", missing: None}
    with pytest.raises(ValueError, match=rf"^gsm8k: extra_info\.{missing} is None, .* frpo-verl data reasoning_gym"):
        compute_score("gsm8k", r"\boxed{7}", "7", row)
    with pytest.raises(ValueError, match=r"extra_info\.task"):
        compute_score("gsm8k", r"\boxed{7}", "7", None)


@pytest.mark.parametrize("task", ["coin_flip", "game_of_life_halting", "propositional_logic", "puzzle24"])
def test_rows_of_a_task_that_pays_for_nonsense_are_refused(task):
    with pytest.raises(ValueError, match=rf"reasoning-gym's {task} cannot be a reward, since .*; take its rows out"):
        score(r"\boxed{banana}", task, {"question": "", "answer": "False", "metadata": {}})


def test_nonsense_is_not_paid_where_the_verifier_would_pay():
    verifier = gym.load().get_score_answer_fn("complex_arithmetic")
    entry = {"question": "Add (1 + i) + 2", "answer": "3.0 + i", "metadata": {"result": [3.0, 1.0]}}
    assert verifier("nan", entry) == 1.0
    assert [score(rf"\boxed{{{each}}}", "complex_arithmetic", entry)["score"] for each in ("nan", "3+i")] == [0.0, 1.0]


def test_a_verifier_that_raises_says_no_and_is_logged(caplog, monkeypatch):
    monkeypatch.setattr(pool._raised, "_count", 0)
    entry = {"question": "", "answer": None, "metadata": {"initial_state": {"1.0_1.0": ["box_red"]}}}
    assert score(r"\boxed{null}", "boxnet", entry) == {"score": 0.0, "acc": 0.0, "format": 1.0, "timed_out": 0.0}
    assert "made their verifier raise, and score 0; the last one: TypeError: " in caplog.text
