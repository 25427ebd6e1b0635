"""Tests the reading of gold answers as the sources write them."""

import pytest

from frpo_verl.data import gold


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  p - q ", "p - q"),
        (27, "27"),
        (27.0, "27"),
        (0.5, "0.5"),
        (None, ""),
        (float("nan"), ""),
        ("$\\frac{1}{2}$", "\\frac{1}{2}"),
        ("$1$ or $2$", "$1$ or $2$"),
        (["$2$", "$\\sqrt{3}$"], "2, \\sqrt{3}"),
        (["$1,2$"], "1,2"),
        ("so $\\boxed{\\frac{a}{b}}$, hence \\boxed{ \\sqrt{2} }.", "\\sqrt{2}"),
        ("\\boxed{never closed", ""),
        ("\\boxed 5", ""),
        ("\\boxed{\\{1\\}}", "\\{1\\}"),
        (
            "\\boxed{f=\\left\\{\\begin{array}{l}1\\end{array}\\right.}",
            "f=\\left\\{\\begin{array}{l}1\\end{array}\\right.",
        ),
        ("\\boxed{" + "1" * 600 + "}", "1" * 600),
        ("$", "$"),
    ],
)
def test_plain(value, expected):
    assert gold.plain(value) == expected


@pytest.mark.parametrize(("value", "expected"), [("025", "25"), (7, "7"), ("-3", "-3"), ("000", "0"), ("x", "x")])
def test_a_whole_number_has_no_zeros_in_front(value, expected):
    assert gold.whole_number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("He has 2*5=<<2*5=10>>10.\n#### 10", "10"),
        ("#### 1,234,567", "1234567"),
        ("#### -5", "-5"),
        ("12", "12"),
        ("####", ""),
    ],
)
def test_what_stands_behind_the_hashes(value, expected):
    assert gold.after_hashes(value) == expected
