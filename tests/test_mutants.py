"""Checks the mutants without running them, which `make test` does: each is a change that a test could notice."""

import pytest
from mutants import MUTANTS, Mutant
from mutants.__main__ import TESTS, core_tests, in_core, own_tests
from mutants.mutant import faults, undefined


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}-{mutant.right[:30]}")
def test_it_is_a_change_of_the_code_as_it_is_and_could_run(mutant):
    assert list(faults(mutant)) == []


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in MUTANTS}))
def test_the_tests_of_a_file_are_there(file):
    assert [name for name in own_tests(file) if not (TESTS / name).is_file()] == [] or in_core(file)
    assert not in_core(file) or all((TESTS / name).is_file() for name in core_tests())


def test_there_are_enough_and_no_two_are_the_same():
    assert len(set(MUTANTS)) == len(MUTANTS) >= 40


@pytest.mark.parametrize(
    ("mutant", "fault"),
    [
        (Mutant("nowhere.py", "a", "b"), "there is no such file"),
        (Mutant("masking.py", "\n", ""), "times, not once"),
        (Mutant("masking.py", "tokens.clamp(min=1)", "tokens.clamp(min=1)"), "nothing is changed"),
        (Mutant("masking.py", "tokens.clamp(min=1)", "tokens(.clamp(min=1)"), "it does not compile"),
        (Mutant("masking.py", "tokens.clamp(min=1)", "masks.sum()"), "it names what is not defined: masks"),
    ],
)
def test_what_could_prove_nothing_is_refused(mutant, fault):
    (found,) = faults(mutant)
    assert fault in found


def test_names_of_every_scope_are_looked_up():
    text = "import a\ndef f(x: T) -> int:\n    global c\n    c = len(x)\n    return [a.b for y in d if y]\nprint(c, e)"
    assert undefined(text, "x.py") == {"T", "d", "e"}
