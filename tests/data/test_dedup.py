r"""Tests which problems count as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frpo_verl.data import dedup

SAME = [
    ("Find $x$.", "find x"),
    ("Find  $x + 1$ .", "Find \\(x+1\\)"),
    ("Let \\[ f(x) = x \\]", "Let $$f(x)=x$$"),
    ("$\\left( 3, \\frac{\\pi}{2} \\right)$", "$(3,\\dfrac{\\pi}{2})$"),
    ("a\\, b\\;c\\!d\\ e\\quad f", "abcdef"),
    ("Solve\n\nfor $x$:", "Solve for x"),
    ("The “sum” of 1, 2", 'The "sum" of 1,2'),
    ("ｆｉｎｄ 2", "find 2"),
    ("What is 5?", "What is 5"),
    ("FIND the Sum of $A$ and $x$", "find The sum of $A$ and $x$"),
    ("the triangle $A B C$", "the triangle $ABC$"),
    ("Let’s find $f′(2)$", "Let's find $f'(2)$"),
    ("``one'' or `two'", "one or two"),
    ("$10\\,000\\,000$ or $x\\!y$", "$10000000$ or $xy$"),
    ("$10 * .5$", "$10*.5$"),
    ("a  2 \t 3 \n b", "a 2 3 b"),
    ("$1 \\\\ 23$", "$1\\\\23$"),
    ("$1, 2, ..., 9$.", "$1,2,...,9$"),
]
DIFFERENT = [
    ("What is 1.5?", "What is 15?"),
    ("the pair (1, 2)", "the pair (12)"),
    ("$x + 1$", "$x - 1$"),
    ("$x^{2}1$", "$x^{21}$"),
    ("$f(x)$", "$fx$"),
    ("$3!$", "$3$"),
    ("$\\leftarrow$", "$arrow$"),
    ("$a < b$", "$a > b$"),
    ("Find f'(2) for", "Find f(2) for"),
    ("Find f’(2) for", "Find f(2) for"),
    ("Find f''(2) for", "Find f'(2) for"),
    ("10*.5", "10*5"),
    ("$.5$ of it", "$5$ of it"),
    ("the half (.5)", "the half (5)"),
    (".5 of it", "5 of it"),
    ("2² - 1", "22 - 1"),
    ("x¹² - 1", "x¹2 - 1"),
    ("x₁ - 1", "x1 - 1"),
    ("$1 \\\\ 23$", "$12 \\\\ 3$"),
    ("$1 \\\\ 2$", "$12$"),
    ("$x_{1 2}$", "$x_{12}$"),
    ("$x_{1\\,2}$", "$x_{12}$"),
    ("find A", "find a"),
    ("$\\Delta x$", "$\\delta x$"),
    ("Is it 5? 3 are", "Is it 53 are"),
    ("1、2", "12"),
    ("$1, ..., 9$", "$19$"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_typesetting_makes_no_other_problem(one, other):
    assert dedup.key(one) == dedup.key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_mathematics_does(one, other):
    assert dedup.key(one) != dedup.key(other)


@given(
    st.lists(st.sampled_from(["Find", "$x$", "1.5", "\\frac{1}{2}", "(", "+", "the sum", "é"]), min_size=1), st.data()
)
def test_white_space_and_the_case_of_words_never_matter(words, data):
    spaces = st.text(" \t\n\u00a0", min_size=1, max_size=3)
    other = "".join((word.swapcase() if word in ("Find", "the sum") else word) + data.draw(spaces) for word in words)
    assert dedup.key(" ".join(words)) == dedup.key(other)


@given(st.text())
def test_any_text_has_a_key_of_64_bits(text):
    assert 0 <= dedup.key(text) < 2**64


def test_a_problem_that_comes_again_is_noticed_and_with_another_answer_contradictory():
    seen = dedup.Seen()
    shown = [("Find $x$.", "1"), ("Find $y$.", "2"), ("find x", "1"), ("find x", "3"), ("Find $y$", "2")]
    assert [seen.again(*each) for each in shown] == [False, False, True, True, True]
    assert seen.contradictory("FIND $x$") and not seen.contradictory("Find $y$.")
