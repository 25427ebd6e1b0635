import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_verdicts import VERDICTS

from frpo_verl.rewards import algebra, answers

# One of them never ends; test_math.py asks it of the pool.
ENDLESS = "10^{10^{10}}"
ROWS = [(kind, *row) for kind, rows in VERDICTS.items() for row in rows]
SHARED = Path(os.environ.get("FRPO_VERL_SHARED_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


class _Open(Exception):
    """Algebra would have to decide."""


def _no_algebra(gold, answer):
    raise _Open


def _respelt(gold):
    opened = re.sub(r"(?<!{)[(]", r"\\left ( ", gold)
    closed = re.sub(r"[)](?!})", r"\\right )", opened)
    return f"$ {closed} $".replace(r"\frac", r"\dfrac")


def test_what_needs_no_algebra_is_decided_rightly():
    decided = 0
    for kind, gold, answer, right in ROWS:
        try:
            verdict = answers.equal(gold, answer, _no_algebra)
        except _Open:
            continue
        decided += 1
        assert verdict is right, f"{kind}: {answer!r} for {gold!r}"
    assert decided > 300


@pytest.mark.parametrize("answer", [r"11\infty9", r"\infty-\infty", r"0\infty", r"\frac{\infty}{\infty}", r"\infty^0"])
def test_nothing_is_computed_with_infinity(answer):
    # sympy's verdict on such a thing is not always the same.
    assert not answers.equal("119", answer, lambda gold, answer: True)
    assert not answers.equal(r"[0,\pi]", rf"[0,{answer}]", lambda gold, answer: True)


@pytest.mark.parametrize("kind", VERDICTS)
def test_every_answer_is_worth_what_was_decided_by_hand(kind):
    rows = [row for row in VERDICTS[kind] if row[1] != ENDLESS]
    wrong = [row for row in rows if algebra.right(row[0], row[1]) is not row[2]]
    assert wrong == []


def test_there_are_enough_near_misses():
    misses = [row for row in ROWS if not row[3]]
    assert len(misses) > 250
    assert len(set(ROWS)) == len(ROWS)


def test_math_verify_alone_would_pay_for_some_of_them():
    # The reason for most of this module; math-verify's own defaults.
    from math_verify import parse, verify

    for gold, answer in ((r"1,-2", "(1,-2)"), ("5", "x+1=5"), ("2516_8", "2516_7"), (r"\frac{1}{3}", "0.333333333")):
        assert verify(parse(rf"\boxed{{{gold}}}"), parse(rf"\boxed{{{answer}}}"))
        assert not algebra.right(gold, answer)


@pytest.mark.parametrize(("file", "problems"), [("math500.jsonl", 500), ("aime24.jsonl", 30)])
def test_every_gold_answer_of_the_benchmarks_is_right_and_so_is_another_spelling(file, problems):
    if not (SHARED / file).exists():
        pytest.skip(f"{SHARED / file} is not here (FRPO_VERL_SHARED_DATA names another folder)")
    golds = [str(json.loads(line)["answer"]) for line in (SHARED / file).read_text().splitlines()]
    assert len(golds) == problems
    respelt = [_respelt(gold) for gold in golds]
    assert [gold for gold in golds if not algebra.right(gold, gold)] == []
    assert [text for gold, text in zip(golds, respelt, strict=True) if not algebra.right(gold, text)] == []


@given(st.fractions(), st.fractions())
def test_fractions_are_equal_when_they_are(gold, answer):
    one, other = (rf"\frac{{{value.numerator}}}{{{value.denominator}}}" for value in (gold, answer))
    assert answers.equal(one, other, _no_algebra) is (gold == answer)
    assert answers.equal(one, f"{gold.numerator * 6}/{gold.denominator * 6}", _no_algebra)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.integers(1, 999_999))
def test_no_digit_of_a_decimal_is_rounded_away(gold, off):
    text = format(gold, "f")
    assert answers.equal(text, text + "000", _no_algebra)
    assert not answers.equal(text, f"{text}{off:09d}", _no_algebra)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=5), st.lists(st.integers(-9, 9), min_size=1, max_size=5))
def test_a_list_is_right_in_any_order_and_a_point_in_one(gold, answer):
    one, other = (", ".join(map(str, values)) for values in (gold, answer))
    assert answers.equal(one, other, _no_algebra) is (sorted(gold) == sorted(answer))
    if len(gold) > 1 and len(answer) > 1:
        assert answers.equal(f"({one})", f"({other})", _no_algebra) is (gold == answer)
        assert not answers.equal(f"({one})", other, _no_algebra)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_compared_without_an_error(gold, answer):
    try:
        assert answers.equal(gold, answer, _no_algebra) in (True, False)
    except _Open:
        pass


@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_any_text_is_right_for_itself(gold):
    assert answers.equal(gold, gold, _no_algebra)
