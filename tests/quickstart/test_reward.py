import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frpo_verl.quickstart import reward, task
from frpo_verl.rewards import reasoning_gym

SOURCE = task.NUMBER.data_source


def score(completion, truth):
    return reward.compute_score(SOURCE, completion, truth, {"index": 0})


@pytest.mark.parametrize(
    "completion",
    ["5", " 5\n", "The answer is 5.", "2 + 3 = 5", "8-3=5", "first 4, then 5", "05", "5.0", "**5**", "9-5", "\x00 5"],
)
def test_full_credit_when_the_last_number_is_the_answer(completion):
    assert score(completion, "5") == 1.0


@pytest.mark.parametrize(
    "completion",
    ["", "five", "-5", "\N{MINUS SIGN}5", "15", "51", "5 or 6", "3.5", "5.01", "1,005", "5 5 5 4", "\u0665", "5" * 9],
)
def test_no_credit_for_anything_else(completion):
    assert score(completion, "5") == 0.0


@pytest.mark.parametrize("completion", ["-7", "2 - 9 = -7", "\N{MINUS SIGN}7", "It is -7.", "-07"])
def test_a_negative_answer_needs_its_sign(completion):
    assert score(completion, "-7") == 1.0
    assert score(completion, "7") == 0.0


def test_every_problem_accepts_its_answer_and_no_other():
    problems = sum(task.split(), ())
    for problem in problems:
        for answer in range(-9, 19):
            assert score(f"That makes {answer}.", problem.answer) == float(str(answer) == problem.answer)


def test_the_verdict_is_reasoning_gyms_own(monkeypatch):
    monkeypatch.setattr(reasoning_gym, "_verifier", lambda name: lambda answer, entry: 1.0 if answer == "41" else 0.99)
    assert score("41", "42") == 1.0
    assert score("42", "42") == 0.0


@settings(max_examples=500)
@given(st.text(), st.integers(-9, 18))
def test_any_text_scores_zero_or_one(completion, truth):
    assert score(completion, str(truth)) in (0.0, 1.0)


@settings(max_examples=500)
@given(st.text(alphabet="0123456789+-.,= e\n"), st.integers(-9, 18))
def test_a_number_that_is_appended_decides_whatever_stood_before(completion, truth):
    assert score(f"{completion} so {truth}", str(truth)) == 1.0
    assert score(f"{completion} so {truth + 1}", str(truth)) == 0.0


def test_a_very_long_number_is_just_wrong():
    assert score("9" * 1_000_000, "9") == 0.0


def test_an_unknown_task_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="chain_some"):
        reward.compute_score("reasoning_gym/chain_some", "5", "5")


def test_verl_can_load_the_function_by_the_path_of_its_file():
    verl_import = pytest.importorskip("verl.utils.import_utils")
    loaded = verl_import.load_extern_object(reward.__file__, "compute_score")
    extra = {"data_source": SOURCE, "solution_str": "5", "ground_truth": "5", "extra_info": None, "reward_model": None}
    assert loaded(**extra) == 1.0


def test_importing_the_quickstart_modules_loads_nothing_heavy():
    code = (
        "import sys; from frpo_verl.quickstart import command, reward, smollm2, task, tiny, warm_up;"
        "print({'torch', 'transformers', 'numpy', 'pyarrow', 'gguf', 'reasoning_gym'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
