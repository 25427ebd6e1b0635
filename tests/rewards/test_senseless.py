"""Answers that deserve nothing: by rule, and the same ones sent to the tasks of the installed reasoning-gym."""

import itertools
import json
import time

import pytest

from frpo_verl.data import DataError, Draw, gym_tasks
from frpo_verl.rewards import gym, senseless
from frpo_verl.rewards.processes import pool

PUZZLE = {"question": "Find the integral of 2*x + sin(x).", "answer": "x**2 - cos(x) + C", "metadata": {}}

NONSENSE = [
    *("", " ", ".", "?", "-", "()", "[]", "[[]]", "{}", "null", "banana", "the answer", "\\text{x}", "🙂", "x" * 2000),
    *(
        "nan",
        "NaN",
        "-nan",
        "nanj",
        "nan+nanj",
        "(nan)",
        "inf",
        "-inf",
        "Infinity",
        "infj",
        "oo",
        "zoo",
        "1e999",
        "1e999j",
    ),
    *(
        "nan:nan",
        "nan days, 00:00",
        "nan/1",
        "nan, nan",
        "nan nan",
        "1e999",
        "1e999j",
        "9" * 400,
        "0.0.0",
        "1/0",
        "0x",
        "1_0_0",
    ),
    *(json.dumps([float("nan")] * length) for length in range(1, 13)),
    *(
        '{"a": 1}',
        '{"a": {}}',
        '[1, "a"]',
        "[[1], [2, 3]]",
        "[null]",
        '"text"',
        "[[[0]]]",
        "1*2*3*4",
        "6*4*1*1",
        "A=1",
        "(P ∨ Q)",
    ),
    *("Yes and no", "True and False", "print(1)", "lambda: 1", "__import__('os')", "answer", "entry['answer']", "*"),
]

EXAMPLE = ("chain_sum", "3", '{"question": "1 + 2", "answer": "3", "metadata": {}}')
LIMITS = pool.Limits(workers=1, seconds=2.0, memory_mib=1024)

HANDFUL = ("complex_arithmetic", "number_sorting", "polynomial_equations", "boxnet", "simple_integration")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", True),
        ("  \n", True),
        ("nan", True),
        ("nan + nani", True),
        ("[NaN, 3, Infinity]", True),
        ("-2.5E+400", True),
        ("1" * 400, False),
        (".5e999", True),
        ("3.e999", True),
        ("2.5e-400", False),
        ("banana", False),
        ("tan, nan, nap", False),
        ("infinite", False),
        ("x**2 - cos(x)", False),
        ("x*(x + exp(1)*sqrt (4))", False),
        ("integrate(2*x + sin(x), x)", True),
        ("Integral (2*x + sin(x), x)", True),
        ("x.integrate(x)", True),
        ("__import__('os').getpid()", True),
    ],
)
def test_the_rule(answer, expected):
    assert senseless.is_senseless("simple_integration", answer, PUZZLE) is expected


@pytest.mark.parametrize("answer", ["nan", "1e999", "integrate(x)"])
def test_the_text_of_the_right_answer_is_an_answer(answer):
    assert not senseless.is_senseless("simple_integration", f" {answer}", {"answer": answer})
    assert senseless.is_senseless("simple_integration", answer, {"answer": "7"})


@pytest.mark.parametrize(
    "answer", ["1" * 20_000, "x" * 20_000, "1." * 10_000, "nan" * 6_000, "1e1" * 6_000, "x " * 9_000]
)
def test_a_long_answer_takes_no_time(answer):
    began = time.process_time()
    senseless.is_senseless("simple_integration", answer, PUZZLE)
    assert time.process_time() - began < 0.5


def test_a_word_before_a_bracket_is_a_call_only_where_answers_are_evaluated():
    assert not senseless.is_senseless("gsm_symbolic", "5 apples (in all)", {"answer": "5"})


@pytest.mark.parametrize("right", ["", " ", None])
def test_without_a_right_answer_the_verifier_decides_and_with_an_empty_one_nobody(right):
    assert senseless.is_senseless("polynomial_equations", "banana", {"answer": right}) is (right is not None)


@pytest.mark.parametrize(
    ("task", "answer", "least"),
    [
        ("game_of_life_halting", "banana", 12),
        ("puzzle24", "1*2*3*4", 12),
        ("coin_flip", "0", 8),
        ("propositional_logic", "(P ∨ Q)", 8),
    ],
)
def test_an_unfit_task_pays_for_the_same_answer_to_most_problems(task, answer, least):
    score = gym.load().get_score_answer_fn(task)
    problems = list(gym.load().create_dataset(task, size=12, seed=0))
    assert sum(score(answer, each) == 1.0 for each in problems) >= least
    assert answer not in [each["answer"] for each in problems]


def test_unfit_tasks_exist():
    assert gym.UNFIT.keys() == {"coin_flip", "game_of_life_halting", "propositional_logic", "puzzle24"}
    assert gym.UNFIT.keys() < gym.load().factory.DATASETS.keys()


@pytest.mark.parametrize(
    ("tasks", "count"), [(HANDFUL, 4), pytest.param(None, 12, marks=pytest.mark.thorough)], ids=["a handful", "all"]
)
def test_nothing_senseless_is_paid(tasks, count):
    offered = [task for task in tasks or sorted(gym.load().factory.DATASETS) if _offered(task, count)]
    assert len(offered) == len(tasks) if tasks else len(offered) > 90
    assert [found for task in offered for found in _paid(task, count)] == []


def _paid(task, count):
    """Returns the senseless answers that the reward pays for, other than by being the right one."""
    processes = pool.shared(pool.Task("frpo_verl.rewards.reasoning_gym", "full_credit_of_json", EXAMPLE, ""), LIMITS)
    found = []
    for problem in _offered(task, count):
        right = json.loads(problem.entry)["answer"]
        for answer in [*NONSENSE, problem.text, problem.text[-2000:]]:
            if answer.strip() != str(right).strip() and processes.ask(task, answer.strip(), problem.entry):
                found.append((task, answer, right))
    return found


def _offered(task, count):
    part = gym_tasks.parts(f"reasoning_gym:{task}")[1]
    try:
        drawn = gym_tasks.find(part, Draw(size=count * 4, held_out=0.1)).problems()
        problems = (each for each in drawn if each is not None and part.reason(each) is None)
        return list(itertools.islice(problems, count))
    except DataError:
        return []
