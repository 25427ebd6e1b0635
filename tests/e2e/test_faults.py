"""What breaks in a run ends it, with its message, within a minute. A node that dies is in test_cluster."""

import pytest

pytestmark = pytest.mark.slow

WITHIN_SECONDS = 60


def assert_ended(run, message: str) -> None:
    assert run.status != 0
    assert run.fault_seconds is not None, "the fault was not reached"
    assert run.fault_seconds < WITHIN_SECONDS
    assert message in run.log


def test_a_worker_that_raises_while_the_other_rank_waits(train):
    run = train("optimizer-raises", fault="optimizer_raises", NGPUS_PER_NODE="2", MICRO_BATCH="16")
    assert_ended(run, "RuntimeError: injected: the optimizer step failed")


def test_a_server_that_is_killed(train):
    assert_ended(train("server-dies", fault="server_dies"), "EngineDeadError")


def test_a_worker_on_which_the_plugin_is_not_installed(train):
    run = train("plugin-missing", fault="plugin_missing", METHOD="frpo")
    assert_ended(run, "No module named 'frpo_verl'")
