"""Bytes of verl's FSDP engines, against published figures and by hand."""

import pytest
from omegaconf import OmegaConf

from frpo_verl.plan import fsdp
from frpo_verl.plan.activations import Logits
from frpo_verl.plan.engine import Batch
from frpo_verl.plan.model import Model

MODEL = Model(
    parameters=1000,
    in_layers=800,
    experts=0,
    replicated=0,
    embedding=190,
    head=0,
    adapters=0,
    layers=8,
    hidden=4,
    query=4,
    key=2,
    wide=8,
    routes=0,
    vocabulary=50,
)
FUSED = Logits(fused=True, chunk=0, entropy=False, scaled=False)
OF_LAYER = 2 * (8 * 4 + 5 * (4 + 2) + 4 * 8)


def section(**changed):
    settings = {
        "fsdp_size": -1,
        "model_dtype": "fp32",
        "reshard_after_forward": True,
        "offload_policy": False,
        "forward_only": False,
        "param_offload": False,
        "optimizer_offload": False,
    }
    return OmegaConf.create({**settings, **changed})


def engine(model=MODEL, ranks=4, checkpointed=True, **changed):
    return fsdp.engine(model, section(**changed), ranks, checkpointed, Batch(10, 20), FUSED)


def test_the_published_figure_of_everything_sharded():
    # Rajbhandari et al. 2020, "ZeRO", figure 1: 7.5e9 parameters with Adam on 64 GPUs, 1.9 GB each.
    found = engine(MODEL._replace(parameters=7_500_000_000), ranks=64)
    assert found.weights + found.gradients + found.states == pytest.approx(1.9e9, rel=0.02)


def test_by_hand():
    found = engine()
    assert (found.weights, found.gradients, found.states) == (1000, 1000, 2000)
    # Two layers of 100 and the 200 of the root, in bfloat16; the root's gradient in bfloat16 and float32.
    assert (found.gathered, found.reduced) == (400 * 2, 200 * 6)
    assert found.update == 10 * (8 * 2 * 4 + OF_LAYER)
    assert found.forward == 20 * OF_LAYER


def test_an_embedding_of_its_own_is_a_unit():
    found = engine(MODEL._replace(parameters=1200, embedding=200, head=200))
    assert found.gathered == (100 + 200) * 2


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"reshard_after_forward": False}, {"gathered": 2000}),
        ({"fsdp_size": 2}, {"weights": 2000, "gradients": 2000, "states": 4000}),
        ({"fsdp_size": 64}, {"weights": 1000}),
        ({"model_dtype": "bf16"}, {"weights": 500, "states": 1000}),
        ({"mixed_precision": {"param_dtype": "fp32"}}, {"gathered": 1600, "reduced": 200 * 8}),
        ({"offload_policy": True}, {"weights": 0, "gradients": 0, "states": 0, "gathered": 800}),
        ({"forward_only": True}, {"weights": 0, "states": 0, "gathered": 800}),
        ({"param_offload": True}, {"weights": 1000, "keeps_weights": False, "keeps_states": True}),
        ({"optimizer_offload": True}, {"states": 2000, "keeps_weights": True, "keeps_states": False}),
        ({"use_no_sync_for_gradient_accumulation": True}, {"reduced": 4000}),
    ],
)
def test_each_setting(changed, expected):
    found = engine(**changed)._asdict()
    assert {key: found[key] for key in expected} == expected


def test_lora_trains_its_adapters_alone():
    found = engine(MODEL._replace(adapters=40))
    assert (found.weights, found.gradients, found.states) == (1040, 40, 80)
    assert found.reduced == 40 / 8 * 6


def test_without_checkpointing_every_layer_keeps_all():
    assert engine(checkpointed=False).update == 10 * 8 * OF_LAYER
