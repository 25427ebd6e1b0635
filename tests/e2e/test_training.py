"""FRPO through verl's real `main_ppo`: Ray, TransferQueue, FSDP2, vLLM, weight sync; and the quickstart."""

import pytest
from assertions import assert_leaves_the_reference, assert_trained

pytestmark = pytest.mark.slow

FRPO_METRICS = {
    "frpo/beta",
    "frpo/divergence_to_ref/token_mean",
    "frpo/divergence_to_ref/sequence_mean",
    "frpo/future_term/mean",
    "frpo/future_term/std",
}


@pytest.fixture
def frpo(on_two_nodes_and_one):
    """One rank, one node."""
    return on_two_nodes_and_one[1]


def test_frpo_trains_under_v1(frpo):
    assert_trained(frpo)


def test_frpos_figures_are_in_verls_own_log_line(frpo):
    for step in frpo.steps:
        assert step.keys() >= FRPO_METRICS
        assert step["frpo/beta"] == 0.05
    for name in FRPO_METRICS:
        assert f"{name}:" in frpo.log


def test_which_beta_runs_is_said_before_ray_starts(frpo):
    said = frpo.log.index("adv_estimator=frpo, beta=0.05 (algorithm.kl_ctrl.kl_coef)")
    assert said < frpo.log.index("ray init kwargs")


def test_the_policy_starts_at_the_reference_and_leaves_it(frpo):
    assert_leaves_the_reference(frpo.steps)


def test_nothing_is_left_running(frpo):
    assert frpo.left_behind == []


@pytest.mark.thorough
def test_the_quickstarts_recipe_shows_what_was_learned(train, tmp_path):
    run = train("smollm2", recipe="run_smollm2_cpu.sh", STEPS="2", RUNS=str(tmp_path))
    assert run.status == 0, run.log[-3000:]
    (page,) = tmp_path.glob("*/report.html")
    assert page.stat().st_size > 10_000
    assert "held-out pass@1" in run.log
