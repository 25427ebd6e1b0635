"""The report as text and as JSON."""

import json

from frpo_verl.doctor.report import Report, Section

REPORT = Report(
    [
        Section("One", {"a": "1", "longer": "2"}, ["first " + "word " * 40 + "end", "second"]),
        Section("Two", {}, ["second"], ["doubt"]),
    ]
)


def test_columns_are_aligned_and_problems_come_last_and_once():
    text = REPORT.as_text()
    assert text.startswith("One\n  a       1\n  longer  2\n\nTwo\n\nWarnings\n  1. doubt\n\nProblems\n  1. first word")
    assert text.endswith("end\n  2. second")
    assert max(map(len, text.splitlines())) <= 120


def test_without_problems_it_says_so():
    assert Report([Section("One", {"a": "1"})]).as_text() == "One\n  a  1\n\nNo problems found."


def test_json_has_the_same():
    found = json.loads(REPORT.as_json())
    assert (found["ok"], found["problems"], found["warnings"]) == (False, REPORT.problems, ["doubt"])
    assert found["sections"] == {"One": {"a": "1", "longer": "2"}, "Two": {}}
