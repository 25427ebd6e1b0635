"""Tests the account that a process gives of its findings."""

import pytest

from frpo_verl.preflight import findings

FINE = {
    "host": "node",
    "python": "3.11.7",
    "verl": "0.9.1",
    "frpo_verl": "0.1.0",
    "location": "/somewhere",
    "entry_points": ["frpo"],
    "policy": None,
    "modules": None,
    "active": True,
    "frpo_verl_error": None,
    "verl_error": None,
    "plugin_error": None,
}


@pytest.mark.parametrize(
    ("policy", "modules", "entry_points", "routes"),
    [
        (None, None, ["frpo"], ["entry point"]),
        ("", "", ["frpo"], []),
        (" Auto ", None, ["frpo"], ["entry point"]),
        ("other, frpo", None, ["frpo"], ["entry point"]),
        ("other", None, ["frpo"], []),
        ("none", None, ["frpo"], []),
        ("none", "other,frpo_verl.verl_plugin", ["frpo"], ["VERL_USE_EXTERNAL_MODULES"]),
        (None, "frpo_verl.verl_plugin", ["frpo"], ["entry point", "VERL_USE_EXTERNAL_MODULES"]),
        (None, "frpo_verl", [], []),
        (None, None, [], []),
    ],
)
def test_the_routes_are_those_of_verl(policy, modules, entry_points, routes):
    assert findings.routes({**FINE, "policy": policy, "modules": modules, "entry_points": entry_points}) == routes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"active": False, "entry_points": []},
            "its entry point is not installed; pip install path/to/frpo-verl",
        ),
        ({"active": False, "policy": "none"}, "VERL_USE_EXTERNAL_PLUGINS=none leaves out its entry point frpo; unset"),
        ({"active": False, "plugin_error": "HostError: x"}, "the plugin does not load (HostError: x); fix that first"),
        ({"verl_error": "ImportError: x", "modules": "y"}, "verl cannot be imported with VERL_USE_EXTERNAL_MODULES=y"),
        ({"frpo_verl_error": "ModuleNotFoundError: x", "active": False}, "frpo-verl is not installed (ModuleNotFound"),
        ({"active": False}, "its entry point failed the first time"),
    ],
)
def test_each_problem_is_one_sentence_that_names_the_place(changes, sentence):
    (problem,) = findings.problems({**FINE, **changes}, "worker 7")
    assert problem.startswith("worker 7: ")
    assert sentence in problem


def test_what_is_active_has_no_problem():
    assert findings.problems(FINE, "here") == []
    assert findings.state(FINE) == "active by entry point, frpo-verl 0.1.0, verl 0.9.1, python 3.11.7"


def test_versions_that_differ_are_named():
    assert findings.differences({**FINE, "frpo_verl": "0.0.9"}, FINE, "worker 7") == [
        "worker 7: frpo-verl 0.0.9, where the driver has 0.1.0; install one version on every node"
    ]
    assert findings.differences({**FINE, "frpo_verl": None}, FINE, "worker 7") == []
