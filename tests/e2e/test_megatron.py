"""FRPO in real Megatron workers, by main_ppo; other layouts and trainers: test_trainers, test_cluster."""

import pytest
from assertions import assert_server_follows, assert_trained_with_the_term

pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow


def test_pipeline_parallel(train):
    run = train("megatron-pp", METHOD="frpo", BETA="0.05", ENGINE="megatron", RANKS="2", PP="2", MICRO_BATCH="16")
    assert_trained_with_the_term(run)
    assert_server_follows(run)
