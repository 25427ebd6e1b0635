"""Thousands of answers that nobody wrote: no error, bounded time, and no other value is paid."""

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import latex_arithmetic
import pytest
from reward_verdicts import VERDICTS

from frpo_verl.rewards.box import last_box
from frpo_verl.rewards.math import compute_score

GOLDS = sorted({gold for rows in VERDICTS.values() for gold, _, _ in rows if 0 < len(gold) < 60})
# math-verify repairs a digit after a brace in its own way.
_ARITHMETIC = re.compile(r"(?:[\d.+*/^()={ -]|\}(?!\s*\d)|\\(?:frac|sqrt|cdot|pi) ?)+")
NUMBERS = [gold for gold in GOLDS if re.fullmatch(r"-?\d+(\.\d+)?|-?\\d?frac\{\d+\}\{\d+\}", gold)]
BITS = [
    *"0123456789+-*/^_=(){}[],.;: xyabinkRe%$&|<>!'\"",
    *r"\frac \sqrt \pi \text{ \infty \le \pm \cup \left( \right) \\".split(),
]
BITS += [
    r"\cdot",
    r"\sin ",
    r"\log",
    r"\%",
    r"^\circ",
    r"\{",
    r"\}",
    r"\frac{0}{0}",
    r"\frac{1}{2}",
    r"\text{ or }",
    r",\!",
]
BITS += [
    "\x00",
    "\u0665",
    "\N{GREEK SMALL LETTER PI}",
    "\ud800",
    "\N{VULGAR FRACTION ONE HALF}",
    r"\sum_{k=1}^{n}",
    r"\int ",
]
BITS += [r"\begin{pmatrix}", r"\end{pmatrix}", "^{10^{10}}", "((((((((((", "}}}}", "\u202e", "9" * 40, r"\boxed{"]


def _mutated(rng, gold):
    letters = list(gold)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(letters) + 1)
        match rng.randrange(5):
            case 0:
                letters.insert(at, rng.choice(BITS[:-8] if rng.random() < 0.97 else BITS))
            case 1:
                del letters[at : at + 1]
            case 2:
                letters[at : at + 1] = [rng.choice(BITS[:-8])]
            case 3:
                letters[at : at + 2] = letters[at : at + 2][::-1]
            case 4:
                other = rng.choice(GOLDS)
                start = rng.randrange(len(other))
                letters[at:at] = other[start : start + rng.randrange(6)]
    return "".join(letters)


def _cases(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        gold = rng.choice(NUMBERS if rng.random() < 0.5 else GOLDS)
        if rng.random() < 0.85:
            yield gold, _mutated(rng, gold)
        else:
            yield gold, "".join(rng.choices(BITS, k=rng.randrange(30)))


def _score(case):
    gold, answer = case
    began = time.monotonic()
    result = compute_score("fuzz", rf"So $\boxed{{{answer}}}$.", gold, seconds=4.0)
    return result, time.monotonic() - began


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        (600, 1),
        pytest.param(10_000, 2, marks=pytest.mark.thorough, id="ten thousand"),
    ],
)
def test_no_answer_is_an_error_or_paid_for_another_value(count, seed):
    cases = list(_cases(count, seed))
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(_score, cases))
    assert {result["score"] for result, _ in results} == {0.0, 1.0}
    assert max(seconds for _, seconds in results) < 60
    # The power towers; an error inside a worker would count as one too.
    assert sum(result["timed_out"] for result, _ in results) < count / 50
    paid = [case for case, (result, _) in zip(cases, results, strict=True) if result["score"] and case[0] in NUMBERS]
    assert len(paid) > count / 100
    assert [
        (gold, answer) for gold, answer in paid if _is_another_value(gold, last_box(rf"\boxed{{{answer}}}$."))
    ] == []


def _is_another_value(gold, box):
    if not _ARITHMETIC.fullmatch(box):
        return False
    try:
        return latex_arithmetic.values(gold).isdisjoint(latex_arithmetic.values(box))
    except latex_arithmetic.NoValue:
        return False


def _expression(rng, depth):
    """Arithmetic as LaTeX, with its value by fractions."""
    if depth == 0 or rng.random() < 0.2:
        number = rng.randint(0, 30)
        return str(number), number
    (left, one), (right, other) = _expression(rng, depth - 1), _expression(rng, depth - 1)
    sign = rng.choice("+-*")
    shown = {"*": r" \cdot "}.get(sign, sign)
    value = {"+": one + other, "-": one - other, "*": one * other}[sign]
    return f"({left}{shown}{right})", value


def test_arithmetic_is_worth_its_value_and_nothing_beside():
    rng = random.Random(3)
    for _ in range(40):
        text, value = _expression(rng, 3)
        assert compute_score("fuzz", rf"\boxed{{{text}}}", value, seconds=30.0)["score"] == 1.0, text
        assert compute_score("fuzz", rf"\boxed{{{text}}}", value + rng.choice((-1, 1)), seconds=30.0)["score"] == 0.0, (
            text
        )
