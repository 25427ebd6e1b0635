import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from frpo_verl.rewards import verdict
from frpo_verl.rewards.math import compute_score, is_same

NOTHING = {"score": 0.0, "acc": 0.0, "format": 0.0, "timed_out": 0.0, "acc_math_verify": 0.0}
RIGHT = {"score": 1.0, "acc": 1.0, "format": 1.0, "timed_out": 0.0, "acc_math_verify": 1.0}


def score(answer, gold, **kwargs):
    return compute_score("math", rf"So the answer is $\boxed{{{answer}}}$.", gold, **{"seconds": 20.0, **kwargs})


def test_a_right_answer_in_a_box_is_worth_one():
    assert score(r"\sqrt{8}", r"2\sqrt{2}") == RIGHT


def test_a_wrong_one_is_worth_nothing():
    assert score(r"\sqrt{9}", r"2\sqrt{2}") == {**NOTHING, "format": 1.0}


def test_what_an_objection_takes_away_shows_next_to_the_librarys_verdict():
    assert score("3.14159265358979", r"\pi") == {**NOTHING, "format": 1.0, "acc_math_verify": 1.0}
    # The whole response, not the box: two boxes next to each other are two answers.
    assert compute_score("math", r"\boxed{4}, no: \boxed{5}", "5") == {**RIGHT, "acc_math_verify": 0.0}


@pytest.mark.parametrize("response", ["", "5", r"\boxed{5", r"\boxed{5} then \boxed{", "the answer is $5$"])
def test_without_a_complete_last_box_nothing_is(response):
    result = compute_score("math", response, "5")
    # math-verify alone also looks for an answer outside of boxes.
    assert result == {**NOTHING, "acc_math_verify": float(response not in ("", r"\boxed{5"))}


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (5, "5", 1.0),
        (np.int64(5), "5", 1.0),
        (2.5, r"\frac{5}{2}", 1.0),
        (0.1, "0.1", 1.0),
        (np.float64(0.1), "0.10000001", 0.0),
        ([1, 2], "2, 1", 1.0),
        ([1, 2], "1", 0.0),
        (["5"], "5", 1.0),
        (np.array(["5", "7"]), "7, 5", 1.0),
    ],
)
def test_the_right_answer_may_be_a_number_or_a_list(gold, answer, right):
    assert score(answer, gold)["score"] == right


@pytest.mark.parametrize("gold", [None, "", "  ", [], [""], float("nan"), {}, True])
def test_without_a_right_answer_there_is_one_sentence(gold):
    with pytest.raises(ValueError, match=r"^gsm8k: reward_model\.ground_truth is .*; fill the column") as error:
        compute_score("gsm8k", r"\boxed{5}", gold)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"workers": 0}, r"reward_kwargs\.workers=0: must be a positive number, for instance 2"),
        ({"workers": 1.5}, r"reward_kwargs\.workers=1\.5"),
        ({"seconds": "3"}, r"reward_kwargs\.seconds='3'"),
        ({"seconds": float("inf")}, r"reward_kwargs\.seconds=inf"),
        ({"memory_mib": -1}, r"reward_kwargs\.memory_mib=-1"),
        ({"second": 3}, r"reward_kwargs\.second=3: there is no such key; did you mean seconds\?"),
    ],
)
def test_limits_that_cannot_be_are_refused(kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        score("5", "5", **kwargs)


def test_verls_own_keywords_are_not_refused():
    assert score("5", "5", extra_info=None, reward_router_address="x", reward_model_tokenizer=None)["score"] == 1.0


def test_a_hanging_answer_scores_nothing_and_stalls_nobody(caplog, monkeypatch):
    monkeypatch.setattr(verdict._lost, "_count", 0)
    with ThreadPoolExecutor(8) as threads:
        began = time.monotonic()
        endless = threads.submit(score, "10^{10^{10}}", "5", seconds=5.0)
        others = [threads.submit(score, rf"x^2+{n}x", rf"x(x+{n})", seconds=5.0) for n in range(2, 30)]
        assert all(other.result()["score"] == 1.0 for other in others)
        assert endless.result() == {**NOTHING, "format": 1.0, "timed_out": 1.0}
    assert time.monotonic() - began < 60
    assert "had no verdict within the limits" in caplog.text


def test_from_asyncio_as_verl_calls_it():
    async def batch():
        loop = asyncio.get_running_loop()
        jobs = [(rf"{n}\sqrt{{2}}", rf"\sqrt{{{2 * n * n}}}") for n in range(2, 40)]
        return await asyncio.gather(*(loop.run_in_executor(None, score, answer, gold) for answer, gold in jobs))

    assert [result["score"] for result in asyncio.run(batch())] == [1.0] * 38


def test_without_math_verify_one_sentence_at_load():
    program = (
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'math_verify' else find(name, *a);"
        "import frpo_verl.rewards.math"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ImportError: frpo_verl.rewards.math: math-verify is not installed")
    assert last.endswith("pip install 'frpo-verl[math]'")


def test_loading_it_imports_nothing_heavy():
    program = (
        "import sys, frpo_verl.rewards.math;"
        "print({'torch', 'math_verify', 'sympy', 'numpy', 'verl', 'reasoning_gym'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("x", " x ", True),
        (r"\frac{1}{2}", "0.5", True),
        ("x=5", "5", True),
        ("7", "007", True),
        ("7", "-7", False),
        ("1000000000000000000000001", "1000000000000000000000002", False),
        (r"\frac{1}{2}", "0.6", False),
        (r"\sqrt{", "5", False),
    ],
)
def test_two_boxes_hold_one_answer_where_one_is_right_if_the_other_is(one, other, same):
    assert is_same(one, other) is same


def test_equal_texts_and_whole_numbers_are_compared_without_a_process(monkeypatch):
    monkeypatch.setattr("frpo_verl.rewards.math.pool", None)
    assert is_same("12", "+12") and not is_same("12", "13") and is_same("x", " x ")
