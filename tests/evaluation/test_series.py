"""Metrics as series: the first that a run logged, and the range of several seeds."""

import pytest

from frpo_verl.evaluation.metrics import Step
from frpo_verl.evaluation.series import DIVERGENCE, Band, Series, bands, series


def of_one(*metrics: dict[str, float]) -> list[Step]:
    return [Step(number, data) for number, data in enumerate(metrics, start=1)]


def test_a_series_has_the_steps_that_logged_the_metric():
    steps = [Step(1, {"a": 0.1}), Step(2, {}), Step(3, {"a": 0.3})]
    assert series(steps, ["a"]) == Series("a", {1: 0.1, 3: 0.3})


def test_the_first_name_that_was_logged_counts_alone():
    steps = of_one({"b": 1.0}, {"a": 2.0, "b": 3.0})
    assert series(steps, ["a", "b"]) == Series("a", {2: 2.0})
    assert series(steps, ["c", "b"]) == Series("b", {1: 1.0, 2: 3.0})


def test_without_any_the_first_name_says_what_is_missing():
    assert series(of_one({"b": 1.0}), ["a", "c"]) == Series("a", {})


def test_the_plugins_divergence_goes_before_patched_verls_and_that_before_the_penalty_in_the_loss():
    logged = {"actor/kl_loss": 0.1, "actor/future_kl_penalty": 0.3, "frpo/divergence_to_ref/token_mean": 0.2}
    for best in ("frpo/divergence_to_ref/token_mean", "actor/future_kl_penalty", "actor/kl_loss"):
        assert series(of_one(logged), DIVERGENCE).metric == best
        del logged[best]


def test_a_band_is_the_range_and_the_mean_of_the_seeds():
    assert bands({3: [0.25, 1.0, 0.25], 4: [2.0]}) == [Band(3, 0.25, 0.5, 1.0), Band(4, 2.0, 2.0, 2.0)]
    assert bands({5: [0.1, 0.5]}) == [Band(5, 0.1, pytest.approx(0.3), 0.5)]
