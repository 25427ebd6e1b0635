import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.rewards.box import LONGEST, last_box


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed {5}", "5"),
        ("\\boxed\n{5}", "5"),
        (r"\boxed{}", ""),
        (r"first \boxed{4}, no: \boxed{5}", "5"),
        (r"\boxed{\frac{1}{2}} or so", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{(0, 1\}}", r"(0, 1\}"),
        (r"\boxed{a \\}", r"a \\"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{5}. I put it in \boxed.", "5"),
        (r"\boxed{5}} and more}", "5"),
        (r"$$\boxed{" + "x" * LONGEST + "}$$", "x" * LONGEST),
    ],
)
def test_the_answer_is_what_the_last_box_holds(response, answer):
    assert last_box(response) == answer


@pytest.mark.parametrize(
    "response",
    [
        "",
        "5",
        "The answer is 5.",
        "$5$",
        r"\boxed 5",
        r"\boxed",
        r"boxed{5}",
        r"\fbox{5}",
        r"\framebox{5}",
        r"\boxedx{5}",
        r"\boxed{5",
        r"\boxed{\frac{1}{2}",
        r"\boxed{5\}",
        r"first \boxed{5}, then \boxed{\frac{1}",
        r"\boxed{" + "x" * (LONGEST + 1) + "}",
    ],
)
def test_nothing_else_is_an_answer(response):
    assert last_box(response) is None


@given(st.text(), st.text(alphabet="abc{}\\ 5"))
def test_a_balanced_box_at_the_end_decides_whatever_stood_before(before, inside):
    balanced = inside.replace("\\", "").replace("}", "").replace("{", "{}")
    assert last_box(f"{before}\\boxed{{{balanced}}}") == balanced


def test_a_task_may_have_longer_answers():
    assert last_box(r"\boxed{" + "x" * 2000 + "}", 2000) == "x" * 2000
    assert last_box(r"\boxed{" + "x" * 2001 + "}", 2000) is None


def test_long_responses_cost_little():
    # Each would take hours with a search that starts anew at every command.
    assert last_box(r"\boxed" * 200_000) is None
    assert last_box(r"\boxed{" * 200_000) is None
    assert last_box("{" * 1_000_000 + r"\boxed{7}" + "}" * 1_000_000) == "7"
