"""FRPO in real Megatron workers, driven by main_ppo: layouts, weight transfer, checkpoints."""

import pytest
from assertions import TWO_MINI_BATCHES, assert_server_follows, assert_trained_with_the_term

pytest.importorskip("megatron.core")
pytestmark = pytest.mark.slow

ON_MEGATRON = {"METHOD": "frpo", "BETA": "0.05", "ENGINE": "megatron", "MICRO_BATCH": "16"}


def test_tensor_parallel_with_the_current_policys_term(train):
    run = train(
        "megatron-tp", RANKS="2", TP="2", overrides=("+algorithm.frpo.kl=current", TWO_MINI_BATCHES), **ON_MEGATRON
    )
    for step in assert_trained_with_the_term(run):
        assert abs(step["actor/frpo/subtracted/token_mean"]) > 1e-6
    assert_server_follows(run)


def test_pipeline_parallel(train):
    run = train("megatron-pp", RANKS="2", PP="2", **ON_MEGATRON)
    assert_trained_with_the_term(run)
    assert_server_follows(run)
