"""The mutants themselves run in `make test`; here: each still changes something, and none is out of date."""

import pytest
from mutants import MUTANTS
from mutants.__main__ import copy_of_the_package, places


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}-{mutant.right[:30]}")
def test_its_text_stands_in_the_code_once_and_is_changed(mutant, tmp_path):
    assert places(mutant) == 1
    assert mutant.wrong != mutant.right
    changed = copy_of_the_package(tmp_path, mutant) / "frpo_verl" / mutant.file
    compile(changed.read_text(), mutant.file, "exec")


def test_there_are_enough_and_no_two_are_the_same():
    assert len(set(MUTANTS)) == len(MUTANTS) >= 40
