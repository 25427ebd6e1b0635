r"""Which problems count as the same one."""

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
def test_space_and_case_never_matter(words, data):
    spaces = st.text(" \t\n\u00a0", min_size=1, max_size=3)
    other = "".join(word.swapcase() + data.draw(spaces) if word[0] != "\\" else word + " " for word in words)
    assert dedup.key(" ".join(words)) == dedup.key(other)


@given(st.text())
def test_any_text_has_a_key_of_64_bits(text):
    assert 0 <= dedup.key(text) < 2**64
